import { newCounters } from '../dispatch/counters.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { ReadValue } from '../dispatch/event-value.js';
import type { OnEnd, Outcome, Refusals } from '../dispatch/run-gate.js';
import type { Expiry, ExpiryHandler } from '../dispatch/expiry.js';
import { LatenessWindow } from '../dispatch/lateness-window.js';
import { Draining } from '../engine/draining.js';
import {
  assertWatched,
  groupOfKeys,
  withGroup,
  type ExpiryEngine,
  type GroupAccess,
  type KeyAccess,
  type OwnHandler,
} from '../engine/expiry-engine.js';
import type { ResolvedOptions } from '../engine/options.js';
import type {
  ExpirySubscription,
  RedisExpiryStatus,
} from '../engine/status.js';
import type { Log } from '../util/log.js';
import { MemoryArming } from './memory-arming.js';
import { type ChannelHandler, MemoryChannels } from './memory-channels.js';
import { MemoryGraces } from './memory-graces.js';
import { checkOf } from './memory-keys.js';
import { asRead } from './memory-value.js';
import { type FailedTry, MemoryGroup } from './memory-group.js';
import type { MemoryExpiry, MemoryParts } from './memory-expiry.js';
import { idOf, placeOf, redisKeyOf } from './memory-place.js';
import type { HandledExpiry, OpenRun } from './runs.js';

const NONE_REFUSED: Refusals = new Map();

/**
 * The engine of the test kit, in the place of `RedisExpiryEngine`: it matches, queues and runs handlers by
 * the same parts, and has no Redis, no socket and no timer of the process. `ExpiryTester` makes one for each
 * `forRoot` of an application, and tells it what expires.
 *
 * States are those of `RedisExpiryEngine`.
 */
export class MemoryEngine implements ExpiryEngine {
  readonly #counters = newCounters();
  readonly #lateness = new LatenessWindow();
  readonly #dispatcher: Dispatcher;
  readonly #graces: MemoryGraces;
  readonly #handlers = new Map<ExpiryHandler, string | undefined>();
  readonly #groups = new Map<string, MemoryGroup>();
  readonly #channels: MemoryChannels;
  readonly #draining = new Draining();
  #drained: Promise<void> | undefined;

  constructor(
    private readonly options: ResolvedOptions,
    private readonly parts: MemoryParts,
    log: Log,
  ) {
    this.#channels = new MemoryChannels(log);
    const { keyPrefix } = placeOf(options);
    this.#dispatcher = new Dispatcher(
      options,
      checkOf(parts.keys, Buffer.byteLength(keyPrefix)),
      this.#counters,
      log,
      parts.time,
    );
    // Nobody waits for such a try but `advance`.
    const offer = (handler: ExpiryHandler, expiry: Expiry): void =>
      void this.#try(handler, expiry, 1, { retry: true });
    const { queueLimit } = options;
    const counters = this.#counters;
    this.#graces = new MemoryGraces([
      ...([{ offer }, queueLimit, counters, log, parts.time] as const),
    ]);
  }

  /** What it has: `Class.method (pattern)`. */
  get handlers(): string[] {
    return [...this.#handlers.keys()].map(
      ({ name, glob }) => `${name} (${glob.pattern})`,
    );
  }

  start(handlers: readonly OwnHandler[] = []): Promise<void> {
    for (const handler of handlers) this.#add(handler);
    return Promise.resolve();
  }

  ready(): Promise<void> {
    return Promise.resolve();
  }

  async handle(handler: OwnHandler): Promise<ExpirySubscription> {
    this.#draining.assertNotBegun();
    const added = this.#add(handler);
    return {
      pattern: handler.glob.pattern,
      unsubscribe: () => {
        this.#handlers.delete(added);
        this.#graces.remove(added);
        this.#dispatcher.remove(added);
        return Promise.resolve();
      },
    };
  }

  async listen(
    channelPattern: string,
    handler: ChannelHandler,
  ): Promise<ExpirySubscription> {
    this.#draining.assertNotBegun();
    return this.#channels.subscribe(channelPattern, handler);
  }

  group(name = this.options.group): GroupAccess | undefined {
    return name === undefined ? undefined : this.#groups.get(name);
  }

  async keys(group?: string): Promise<KeyAccess> {
    groupOfKeys(group, this.options.group);
    return new MemoryArming(this.parts.time, this.parts.keys);
  }

  status(): RedisExpiryStatus {
    return {
      nodes: [],
      groups: [...this.#groups.values()].map(({ status }) => status),
      counters: { ...this.#counters },
      lateness: this.#lateness.status,
      gaps: { count: 0, seconds: 0 },
      queued: this.#dispatcher.queued,
      running: this.#dispatcher.running,
      inGrace: this.#graces.of(undefined).size,
      longRunning: this.#dispatcher.longRunning,
    };
  }

  onDraining(callback: () => void): () => void {
    return this.#draining.whenBegun(callback);
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  close(): void {
    this.#draining.begin();
  }

  /** A key is about to expire. Resolves as `expire`. */
  warn(warning: MemoryExpiry): Promise<number> {
    return this.#deliverAll(warning);
  }

  async #deliverAll(event: MemoryExpiry): Promise<number> {
    const { key, before } = event;
    const matching = [...this.#handlers.keys()].filter(
      (one) => one.before === before && one.glob.test(key),
    );
    const read = asRead(event.value, matching, this.options, this.#counters);
    await Promise.all(
      matching.map((handler) => this.#deliver(handler, event, read)),
    );
    return matching.length;
  }

  /** A key was created, which is told without a `keyPrefix`. */
  created(key: Buffer): void {
    this.#graces.returned(redisKeyOf(this.options, key));
  }

  /** A key expired. Resolves with how many handlers match it, once their first tries have ended. */
  async expire(expired: MemoryExpiry): Promise<number> {
    const { database, keyPrefix } = placeOf(this.options);
    this.#channels.announce(database, `${keyPrefix}${expired.key.toString()}`);
    return this.#deliverAll(expired);
  }

  #add(own: OwnHandler): ExpiryHandler {
    const { group: name, ...handler } = withGroup(own, this.options.group);
    assertWatched(handler, this.options);
    this.#handlers.set(handler, name);
    if (handler.before !== undefined)
      this.parts.keys.tellBefore(handler.before);
    if (name !== undefined && !this.#groups.has(name))
      this.#groups.set(
        name,
        new MemoryGroup(name, this.#graces.of(name), (failed) => {
          void this.#try(failed.handler, failed.expiry, 1, { retry: true });
        }),
      );
    return handler;
  }

  #deliver(
    handler: ExpiryHandler,
    expired: MemoryExpiry,
    value?: ReadValue,
  ): Promise<void> {
    const { key, deadline, before } = expired;
    const { database } = placeOf(this.options);
    const { now } = this.parts.time;
    const group = this.#handlers.get(handler);
    const redisKey = redisKeyOf(this.options, key);
    const lateness = Math.max(0, now - (deadline - (before ?? 0)));
    this.#lateness.add(lateness);
    const expiry: Expiry = {
      ...{ redisKey, key, database, lateness, before },
      source: 'notification',
      deadline: new Date(deadline),
      ...(value && { value }),
      ...(group !== undefined && { group, id: idOf(redisKey, expired) }),
    };
    if (handler.grace === undefined)
      return this.#try(handler, expiry, 1, expired);
    this.#graces.of(group).add(handler, expiry);
    return Promise.resolve();
  }

  /** Makes one try, and goes on as the group's rules say. Resolves when the try has ended. */
  #try(
    handler: ExpiryHandler,
    expiry: Expiry,
    attempt: number,
    given: Pick<MemoryExpiry, 'retry' | 'onHandled'>,
  ): Promise<void> {
    const { runs } = this.parts;
    const run: OpenRun = { isLimited: handler.timeout !== undefined };
    runs.begin(run);
    if (attempt > 1) this.#counters.retried++;
    return new Promise((resolve) => {
      const ended: OnEnd = (outcome, error, result) => {
        this.#tell(given, { handler, expiry, attempt, error }, outcome, result);
        if (outcome === 'failed' && given.retry)
          this.#retry({ handler, expiry, attempt, error });
        runs.end(run);
        resolve();
      };
      const gate = { admit: () => Promise.resolve(NONE_REFUSED) };
      this.#dispatcher.offer(handler, { ...expiry, attempt }, { gate, ended });
    });
  }

  #tell(
    { onHandled }: Pick<MemoryExpiry, 'onHandled'>,
    { handler, expiry, attempt, error }: FailedTry,
    outcome: Outcome,
    result: unknown,
  ): void {
    if (outcome !== 'handled' && outcome !== 'failed') return;
    const handled: HandledExpiry = {
      handler: handler.name,
      pattern: handler.glob.pattern,
      attempt,
      ...(outcome === 'handled' ? { result } : { error }),
    };
    if (onHandled) onHandled(handled);
    else this.parts.onHandled(handled, expiry.key.toString());
  }

  #retry(failed: FailedTry): void {
    const { handler, expiry, attempt } = failed;
    const group = this.#groups.get(expiry.group ?? '');
    if (!group) return;
    const { time } = this.parts;
    const policy = handler.retry ?? this.options.retry;
    const delay = group.failed(failed, policy, time.now);
    if (delay === undefined) {
      this.#counters.deadLettered++;
      return;
    }
    group.retrying++;
    time.after(delay, () => {
      group.retrying--;
      if (this.#handlers.has(handler))
        void this.#try(handler, expiry, attempt + 1, { retry: true });
    });
  }

  async #drain(): Promise<void> {
    this.#draining.begin();
    this.#graces.of(undefined).close();
    const { runs, time } = this.parts;
    const drained = this.#dispatcher.drain(this.options.shutdownTimeout);
    await runs.settledSoon();
    // What has not ended by now, shutdown waits for by the kit's clock.
    const until = time.now + this.options.shutdownTimeout;
    while (time.step(until));
    await drained;
  }
}
