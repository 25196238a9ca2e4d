import { newCounters } from '../dispatch/counters.js';
import { LatenessWindow } from '../dispatch/lateness-window.js';
import type { ConsumerGroup } from '../group/consumer-group.js';
import { GapTotals } from '../listening/gap-totals.js';
import { unknownNode } from '../listening/keyspace-listener.js';
import type { Log } from '../util/log.js';
import { Draining } from './draining.js';
import {
  groupOfKeys,
  withGroup,
  type ExpiryEngine,
  type KeyAccess,
  type OwnHandler,
} from './expiry-engine.js';
import type { ResolvedOptions } from './options.js';
import type { ExpirySubscription, RedisExpiryStatus } from './status.js';
import { Workings } from './workings.js';

/**
 * The module without Nest: it puts the parts together and gives them one life. The Nest module makes one from
 * its options, starts it with the handlers that it found, and closes it. Broadcast has a listener; each
 * group has its own watch and consumer; all share one topology and one dispatcher, which are its `Workings`.
 *
 * States:
 * - *idle* (at first): nothing is connected. A subscription by hand connects what it needs. Where the option
 *   `connection` is a function, that is asked first where Redis is, and the workings are made by its answer.
 * - *running* (after `start`): the application's own handlers run. A start that fails ends *closed*. With
 *   `enabled: false` there are none, and nothing is connected for them.
 * - *draining* (after `drain`): nothing is listened to or taken, and handlers in flight are waited for.
 * - *closed* (after `close`): every connection is closed.
 *
 * Guarantees: it starts, drains and closes once, however often it is asked to. A subscription by hand,
 * before or after the start, fails for its caller alone.
 */
export class RedisExpiryEngine implements ExpiryEngine {
  /** Undefined until it is known where Redis is. */
  #workings: Workings | undefined;
  readonly #draining = new Draining();
  #started: Promise<void> | undefined;
  #drained: Promise<void> | undefined;
  readonly #since = new Date();

  constructor(
    private readonly options: ResolvedOptions,
    private readonly log: Log,
  ) {
    const { target } = options.source;
    if (target) this.#workings = new Workings({ ...options, target }, log);
  }

  /**
   * The application's own start, with its own handlers. Resolves when every node is listened to, and
   * every group works; with `lazyConnect` at once. Rejects with `CONNECT_FAILED` after
   * `connectTimeout`, with `SUBSCRIPTION_REFUSED`, with `NOTIFICATIONS_MISSING`, with
   * `GROUP_REFUSED`, or with `INVALID_OPTION_CONNECTION…` where that is a function that returns what cannot be
   * used; everything is closed then.
   */
  start(handlers: readonly OwnHandler[] = []): Promise<void> {
    this.#started ??= this.#start(handlers).catch((error: unknown) => {
      this.close();
      throw error;
    });
    return this.#started;
  }

  /**
   * Resolves when everything works and the first scan is done; at once with `enabled: false`, where nothing was
   * subscribed to by hand. Rejects as `start` does, but waits as long as it takes.
   */
  async ready(): Promise<void> {
    await this.#started;
    if (!this.#workings && !this.options.enabled) return;
    await (this.#workings ?? (await this.#locate())).ready();
  }

  /**
   * Runs a handler for every expiry of its pattern: in the group that it names, or else in the
   * module's; `false` or none is broadcast. Resolves when every node acknowledged; rejects as `start`,
   * and then nothing is left of it and all else goes on.
   */
  async handle(own: OwnHandler): Promise<ExpirySubscription> {
    this.#draining.assertNotBegun();
    const { group, ...handler } = withGroup(own, this.options.group);
    const workings = this.#workings ?? (await this.#locate());
    return group === undefined
      ? workings.broadcast.handle(handler)
      : workings.inGroup(group, (member) => member.handle(handler));
  }

  /** Hands every message of the channels to a function. Resolves and rejects as `handle`. */
  async listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    this.#draining.assertNotBegun();
    const workings = this.#workings ?? (await this.#locate());
    return workings.broadcast.listen(channelPattern, handler);
  }

  /** A group that some handler of this instance belongs to; the module's, if none is named. */
  group(name = this.options.group): ConsumerGroup | undefined {
    return name === undefined ? undefined : this.#workings?.group(name);
  }

  /**
   * Writes keys for a group, the module's if none is named. It works in every process, whether handlers run there or
   * not, and until `close`. Rejects with `NO_GROUP`, with `CLOSED`, or as the option `connection` does where that is a
   * function.
   */
  async keys(group?: string): Promise<KeyAccess> {
    const name = groupOfKeys(group, this.options.group);
    return (this.#workings ?? (await this.#locate())).keys(name);
  }

  status(): RedisExpiryStatus {
    return this.#workings?.status() ?? this.#statusUnlocated();
  }

  /** Calls back once, when shutdown begins, or at once if it has begun. Returns a function that takes the callback back. */
  onDraining(callback: () => void): () => void {
    return this.#draining.whenBegun(callback);
  }

  /** Stops listening and taking events, and waits `shutdownTimeout` ms at most for what is queued and running. Never rejects. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Closes every connection. */
  close(): void {
    this.#draining.begin();
    this.#workings?.close();
    this.options.source.close();
  }

  async #start(handlers: readonly OwnHandler[]): Promise<void> {
    this.#draining.assertNotBegun();
    const assigned = handlers.map((own) => withGroup(own, this.options.group));
    // With nothing to run, it need not be known where Redis is.
    if (!this.#workings && !this.options.enabled) return;
    await (this.#workings ?? (await this.#locate())).start(assigned);
  }

  /** Makes the workings, by the answer of the user's function. */
  async #locate(): Promise<Workings> {
    const target = await this.options.source.locate(this.log);
    this.#draining.assertNotBegun();
    // Several may have waited for the answer.
    if (this.#workings) return this.#workings;
    this.#workings = new Workings({ ...this.options, target }, this.log);
    // Its start was put off, as there was nothing to run.
    if (this.#started && !this.options.enabled) await this.#workings.start([]);
    return this.#workings;
  }

  async #drain(): Promise<void> {
    this.#draining.begin();
    if (this.#workings) await this.#workings.drain();
    else this.options.source.close();
  }

  /** As `status`, while it is not known where Redis is. */
  #statusUnlocated(): RedisExpiryStatus {
    const { lastError } = this.options.source;
    return {
      nodes:
        lastError === undefined ? [] : [unknownNode(lastError, this.#since)],
      groups: [],
      counters: newCounters(),
      lateness: new LatenessWindow().status,
      gaps: new GapTotals().status,
      queued: 0,
      running: 0,
      inGrace: 0,
      longRunning: [],
    };
  }
}
