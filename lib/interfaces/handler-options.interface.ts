import type { KeyExpiredEvent } from './key-expired-event.interface.js';

/** Tries before an event is dead-lettered, and the wait between them. Group delivery only. */
export interface RetryOptions {
  /** Tries in all. @default 5 */
  attempts?: number;
  /** Milliseconds before try n+1, or a function of the attempt that failed. @default exponential from 1 s */
  backoff?: number | ((attempt: number) => number);
}

/** Options of one handler: of `@OnKeyExpired`, and of `RedisExpirySubscriber.subscribe`. */
export interface OnKeyExpiredOptions {
  /**
   * `false`: broadcast, every instance runs the handler. The name of a group is refused with
   * `UNAVAILABLE_OPTION_GROUP` by this version.
   * @default the module's
   */
  group?: string | false;
  /**
   * How many events this handler runs at once, at most: a whole number from 1 on. The module's own
   * `concurrency` bounds all handlers together.
   * @default the module's `concurrency`
   */
  concurrency?: number;
  /** Group delivery only; refused with `UNAVAILABLE_OPTION_RETRY` by this version. */
  retry?: RetryOptions;
}

/** A function that runs when a key expires. A promise or an Observable that it returns is awaited. */
export type KeyExpiredHandler = (event: KeyExpiredEvent) => unknown;
