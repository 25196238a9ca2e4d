import type { ConnectionOption } from '../connection/connection-option.js';
import type { NotificationsMode } from '../listening/flag-keeper.js';
import type { RetryOptions } from '../dispatch/handler-options.js';
import type { ExpiryTelemetry } from './telemetry.js';

/** A kind of Nest's enhancers. */
export type EnhancerKind = 'guards' | 'interceptors' | 'pipes' | 'filters';

/** Options of `RedisExpiryModule.forRoot()`. All are optional; a bad one rejects when the module is created. */
export interface RedisExpiryModuleOptions {
  /**
   * `false`: this process runs no handlers, and opens no connection for them: a web tier, a CLI, a REPL. Which
   * handlers do not run is logged once. `RedisExpirySubscriber.ready()` resolves at once then, and `status()` is empty.
   * What is subscribed to by hand is listened for as ever, by connections that are opened then.
   * @default true
   */
  enabled?: boolean;
  /**
   * Where Redis is: a URL (`redis://`, `rediss://`), ioredis options (Sentinel options included),
   * `{ nodes, options }` for a Cluster, or an ioredis `Redis` or `Cluster` of your own: that one is
   * duplicated for every connection that the module needs, and never changed or closed by it.
   *
   * Or a function that returns one of these, or a promise of one: it is asked for each new connection, so that
   * each logs in with the credentials of its time (passwords that are rotated, IAM tokens). What it throws, or an
   * answer that does not come within `connectTimeout` (10 s, unless an answer says otherwise), counts as a
   * connection that failed: it is tried again with the usual delay, and shown by `status()` and the log, without
   * the passwords of URLs. Credentials, hosts and TLS options may change from one answer to the next; the kind of
   * connection (one server, Sentinels, a Cluster), the database and `keyPrefix` may not. `connectTimeout`,
   * `lazyConnect` and the retry strategy are those of the first answer.
   * @default 'redis://127.0.0.1:6379'
   */
  connection?: ConnectionOption;
  /**
   * Which kinds of Nest's enhancers apply to handlers, as `fieldResolverEnhancers` does for GraphQL: those of the
   * method, of its class, and of the whole application (`APP_GUARD`, `APP_INTERCEPTOR`, `APP_PIPE`, `APP_FILTER`,
   * `app.useGlobal…()`). Their first argument is the event, and `ExecutionContext.getType()` is `'redis-expiry'`.
   *
   * - `'guards'`: one that refuses makes the try fail, with a `ForbiddenException`.
   * - `'interceptors'`: around the handler. What they let through is the handler's result. A stream has to emit
   *   before it completes, as everywhere in Nest's external contexts; without, the try fails with an `EmptyError`.
   * - `'pipes'`: are given the event, and the handler is given what they return.
   * - `'filters'`: an error that a filter is for and does not throw again counts as handled, and is not retried.
   *
   * A handler whose enhancers apply always runs asynchronously. Handlers that are subscribed by hand have none.
   * @default []
   */
  enhancers?: readonly EnhancerKind[];
  /**
   * The consumer group that the handlers of this application belong to: a name without spaces and
   * braces. Unset: every running instance runs its handlers on every expiry that it hears, at most
   * once ("broadcast"). Set: exactly one instance of the group gets each expiry, at least once, also
   * for expiries that happened while no instance was running or connected ("group").
   */
  group?: string;
  /** Prefix of every key that the module writes; no handler ever hears of such a key. @default 'rx' */
  namespace?: string;
  /**
   * What the module does about the server's `notify-keyspace-events`.
   *
   * - `'ensure'` adds the flags that are missing, never removing one, and again after a restart;
   *   where the server forbids CONFIG it warns and goes on.
   * - `'verify'` rejects at start when they are missing.
   * - `'off'` never looks, and writes no test key either.
   * @default 'ensure'
   */
  notifications?: NotificationsMode;
  /**
   * On-time delivery: the module learns each matching key's deadline and touches the key when it is
   * due, so that Redis expires it at that millisecond and not when its sampling gets there. `false`:
   * only Redis's own notifications, as late as they come.
   *
   * - `scanInterval`: milliseconds between two scans that find what no event told of, from 1000 on.
   *   @default 600_000
   * - `scanCount`: keys that one step of a scan looks at, from 1 on. @default 1_000
   * @default true
   */
  punctual?: boolean | { scanInterval?: number; scanCount?: number };
  /** Handlers running at once in this instance: a whole number from 1 on. @default 100 */
  concurrency?: number;
  /**
   * Events that may wait for their handler in this instance: a whole number from 1 on. When keys
   * expire faster than handlers run, whatever comes beyond it is dropped: logged, and counted in
   * `status().counters.dropped`. One waiting event takes about 500 bytes.
   * @default 500_000
   */
  queueLimit?: number;
  /** Group only: tries before an event is dead-lettered, and the wait between them. */
  retry?: RetryOptions;
  /** Group only: milliseconds that an event stays with an instance that stopped renewing it, from 100 on. @default 30_000 */
  leaseDuration?: number;
  /**
   * Group only: how long, and how many, dead letters are kept. The oldest are deleted first: what is
   * deleted is logged, and counted in `status().groups[].deadLettersDropped`.
   *
   * - `maxAge`: milliseconds from when an event was given up, from 1 on; deleted within seconds
   *   afterwards. @default 30 days
   * - `maxCount`: letters of one group, from 1 on. @default 100_000
   */
  deadLetters?: { maxAge?: number; maxCount?: number };
  /**
   * Group only: whether the group hears of each key that is given a new deadline, as a heartbeat by
   * `SET key value EX 30` gives one. That costs Redis and the instance that leads for every heartbeat.
   *
   * - `'auto'` does without where the group's own keys dominate: where a scan finds at least 1,000 of
   *   them, and they are two thirds or more of the keys of the database that have a time to live; until
   *   a scan finds them to be less than half. A TTL that some client shortens is then learnt at the next
   *   scan (`punctual.scanInterval`): such a key may expire late by that much, and is not lost.
   *   `status().groups[].nodes[].renewals` tells which it is.
   * - `'heard'` always hears them: a TTL that is shortened is learnt at once.
   * @default 'auto'
   */
  renewals?: 'auto' | 'heard';
  /**
   * For handlers that ask for the value of the key.
   *
   * - `lead`: milliseconds before the deadline at which the value is read, from 1 on. What changes it later, and does not
   *   renew the key, is not seen. @default 20
   * - `maxBytes`: a longer value is not read, and counted in `status().counters.valuesTooLong`; from 1 to 16,777,216. Of a
   *   hash, its fields' names and values count. @default 4_096
   */
  values?: { lead?: number; maxBytes?: number };
  /** Milliseconds that shutdown waits for handlers in flight, from 0 on. @default 10_000 */
  shutdownTimeout?: number;
  /**
   * What observes each try of a handler, and the whole: `openTelemetry()` of `nestjs-redis-expiry/otel`, or your own. Its errors
   * are logged, and change nothing of how an event is handled. Without it nothing is spent on it.
   */
  telemetry?: ExpiryTelemetry;
  /** Name of the connections (`CLIENT LIST`) and of the log lines: visible ASCII without spaces. @default 'redis-expiry' */
  name?: string;
}
