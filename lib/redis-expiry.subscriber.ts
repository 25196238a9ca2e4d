import { Inject, Injectable } from '@nestjs/common';
import { Observable, share } from 'rxjs';
import { checkPattern } from './decorators/handler-metadata.js';
import {
  RedisExpiryError,
  describeValue,
  invalidOption,
} from './errors/redis-expiry.error.js';
import { type DeadLetter, readLetterId } from './group/dead-letters.js';
import { RedisGlob } from './dispatch/redis-glob.js';
import type {
  KeyExpiredHandler,
  KeyExpiringHandler,
  OnKeyExpiredOptions,
  OnKeyExpiringOptions,
} from './dispatch/handler-options.js';
import type { KeyExpiredEvent } from './dispatch/key-expired-event.js';
import type { ExpirySubscription, RedisExpiryStatus } from './engine/status.js';
import {
  type ResolvedHandlerOptions,
  resolveExpiringOptions,
  resolveHandlerOptions,
  resolvePage,
} from './engine/options.js';
import { resolveExpirations } from './engine/value-options.js';
import { RedisExpiryEngine } from './engine/engine.js';
import type { ExpiryEngine, GroupAccess } from './engine/expiry-engine.js';

/**
 * Subscribes to expiries while the application runs, and tells how listening goes. May be used
 * from any lifecycle hook on: what comes before `app.init()` has got that far connects by itself.
 */
@Injectable()
export class RedisExpirySubscriber {
  /** Nest calls it. @internal */
  constructor(
    @Inject(RedisExpiryEngine) private readonly engine: ExpiryEngine,
  ) {}

  /**
   * Runs the handler for every key that expires and matches the pattern, as `@OnKeyExpired` does.
   * Resolves once every node acknowledged the subscription. If it is the first, Redis must be reached
   * within `connectTimeout`; with `lazyConnect`, and while Redis is away later on, it waits as long as
   * that takes. When it rejects, nothing is left of it and everything else goes on: the same call may
   * succeed later.
   * @throws RedisExpiryError `INVALID_PATTERN`, `INVALID_HANDLER`, `INVALID_OPTION_…`,
   *   `SUBSCRIPTION_REFUSED`, `GROUP_REFUSED`, `NOTIFICATIONS_MISSING`, `CONNECT_FAILED`, `CLOSED`
   */
  async subscribe<Value = unknown>(
    pattern: string,
    handler: KeyExpiredHandler<Value>,
    options: OnKeyExpiredOptions = {},
  ): Promise<ExpirySubscription> {
    // What the value is like the caller says, by the option `value`.
    const invoke = handler as KeyExpiredHandler;
    return this.#handle(pattern, invoke, 'subscribe()', () =>
      resolveHandlerOptions(options),
    );
  }

  /**
   * Runs the handler for every key that matches the pattern, when its time left falls to `before` ms, as `@OnKeyExpiring` does.
   * Otherwise as `subscribe`.
   * @throws RedisExpiryError as `subscribe`
   */
  async subscribeExpiring(
    pattern: string,
    options: OnKeyExpiringOptions,
    handler: KeyExpiringHandler,
  ): Promise<ExpirySubscription> {
    // With `before` it is given warnings, and nothing else.
    const invoke = handler as KeyExpiredHandler;
    return this.#handle(pattern, invoke, 'subscribeExpiring()', () =>
      resolveExpiringOptions(options),
    );
  }

  /**
   * The expiries of keys that match the pattern. Subscribes with its first subscriber and
   * unsubscribes with its last; errors as `subscribe` rejects, and whoever subscribes to it again then
   * tries again; completes at shutdown.
   * @param options `value`: as of `@OnKeyExpired`
   * @throws RedisExpiryError `INVALID_PATTERN`, `INVALID_OPTION_…`, at once
   */
  expirations<Value = unknown>(
    pattern: string,
    options: Pick<OnKeyExpiredOptions, 'value'> = {},
  ): Observable<KeyExpiredEvent<Value>> {
    checkPattern(pattern);
    const { value } = resolveExpirations(options);
    return new Observable<KeyExpiredEvent<Value>>((observer) => {
      const forget = this.engine.onDraining(() => observer.complete());
      const subscribed = this.subscribe<Value>(
        pattern,
        (event) => observer.next(event),
        { group: false, ...(value && { value }) },
      );
      subscribed.catch((error: unknown) => observer.error(error));
      return () => {
        forget();
        void subscribed.then(
          (subscription) => subscription.unsubscribe(),
          () => undefined,
        );
      };
    }).pipe(share());
  }

  /**
   * Calls back with `(pattern, channel, message)` for every message of any keyspace or keyevent
   * channel, as `'__keyevent@0__:evicted'`. Keys are named as Redis knows them, `keyPrefix`
   * included. With `notifications: 'ensure'` the flags that the pattern names are added: its channel
   * family, and the class of an event that it names, or of each event that a glob in its place can
   * match; where that is not known, a warning says so. A keyspace channel names no event: which of
   * them are on is left as it is. Runs in the socket's callback: keep it quick.
   * @throws RedisExpiryError as `subscribe`
   */
  async psubscribe(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => void,
  ): Promise<ExpirySubscription> {
    checkPattern(channelPattern, 'The channel pattern');
    checkHandler(handler);
    return this.engine.listen(channelPattern, handler);
  }

  /**
   * The oldest dead letters of a group: events that were given up after their last try. How long and how many
   * are kept, the option `deadLetters` says.
   * @param group the module's, if left out
   * @param page `count`: how many at most, from 1 on, 100 if left out; `after`: the `id` of the last
   *   letter of the page before
   * @throws RedisExpiryError `INVALID_OPTION_GROUP` if no handler of this instance belongs to it,
   *   `INVALID_OPTION_COUNT`, `INVALID_OPTION_AFTER`
   */
  async deadLetters(
    group?: string,
    page: { count?: number; after?: string } = {},
  ): Promise<DeadLetter[]> {
    const { count, after } = resolvePage(page);
    const { letters, name } = this.#group(group);
    if (after !== undefined && readLetterId(after)?.group !== name)
      throw invalidOption(
        'after',
        after,
        `the id of a letter of group "${name}"`,
      );
    return letters.list(count, after);
  }

  /**
   * Puts a dead letter back among its group's events, to be tried as if for the first time.
   * @param id `DeadLetter.id`
   * @returns whether there was such a letter
   * @throws RedisExpiryError `INVALID_OPTION_GROUP` if no handler of this instance belongs to the group
   *   that the id names, `INVALID_OPTION_ID`
   */
  async redrive(id: string): Promise<boolean> {
    return this.#lettersOf(id).redrive(id);
  }

  /**
   * Deletes a dead letter.
   * @param id `DeadLetter.id`
   * @returns whether there was such a letter
   * @throws RedisExpiryError as `redrive`
   */
  async discard(id: string): Promise<boolean> {
    return this.#lettersOf(id).discard(id);
  }

  /**
   * Resolves when every node is listened to, its settings were looked at, and a first scan is done.
   * @throws RedisExpiryError `SUBSCRIPTION_REFUSED`, `NOTIFICATIONS_MISSING`, `CONNECT_FAILED`, `CLOSED`
   */
  ready(): Promise<void> {
    return this.engine.ready();
  }

  /** How listening and handling go, now. */
  status(): RedisExpiryStatus {
    return this.engine.status();
  }

  /** `name`: of a handler that has none. `resolve` checks its options. */
  #handle(
    pattern: string,
    handler: KeyExpiredHandler,
    name: string,
    resolve: () => ResolvedHandlerOptions,
  ): Promise<ExpirySubscription> {
    checkPattern(pattern);
    checkHandler(handler);
    return this.engine.handle({
      name: handler.name || name,
      scope: 'RedisExpirySubscriber',
      glob: new RedisGlob(pattern),
      invoke: handler,
      ...resolve(),
    });
  }

  #group(name: string | undefined): GroupAccess {
    const group = this.engine.group(name);
    if (!group)
      throw invalidOption('group', name, 'a group of this instance’s handlers');
    return group;
  }

  #lettersOf(id: unknown): GroupAccess['letters'] {
    if (typeof id !== 'string') throw invalidId(id);
    // What names no group at all is refused for that.
    const { letters } = this.#group(
      id.slice(0, Math.max(0, id.lastIndexOf('/'))),
    );
    if (!readLetterId(id)) throw invalidId(id);
    return letters;
  }
}

const invalidId = (id: unknown): RedisExpiryError =>
  invalidOption('id', id, 'the id of a dead letter, as deadLetters() tells it');

function checkHandler(handler: unknown): void {
  if (typeof handler !== 'function') {
    throw new RedisExpiryError(
      'INVALID_HANDLER',
      `The handler is ${describeValue(handler)}; accepted: a function.`,
    );
  }
}
