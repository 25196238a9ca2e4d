import type { ValueForm } from './event-value.js';
import type { KeyExpiredEvent } from './key-expired-event.js';
import type { KeyExpiringEvent } from './key-expiring-event.js';

/** When an event that failed is tried again, and when it is given up. Group delivery only. */
export interface RetryOptions {
  /** Tries in all before the event becomes a dead letter: a whole number from 1 on. @default 5 */
  attempts?: number;
  /** Milliseconds before the next try, or a function that returns them for the attempt that failed, the first being 1. @default exponential: 1 s, 2 s, 4 s … 1 h */
  backoff?: number | ((attempt: number) => number);
}

/** Options of one handler: of `@OnKeyExpired`, and of `RedisExpirySubscriber.subscribe`. */
export interface OnKeyExpiredOptions {
  /**
   * The consumer group that this handler belongs to: one instance of the group runs it for each
   * expiry. `false`: broadcast, every instance runs it.
   * @default the module's
   */
  group?: string | false;
  /**
   * How many events this handler runs at once, at most: a whole number from 1 on. The module's own
   * `concurrency` bounds all handlers together.
   * @default the module's `concurrency`
   */
  concurrency?: number;
  /** Group delivery only. @default the module's */
  retry?: RetryOptions;
  /**
   * Milliseconds, from 1 on, within which what the handler returns must settle. After that `event.signal` is
   * aborted, the try has failed (in a group it is retried), and its place is free for another event. The
   * handler itself cannot be stopped: one that does not heed the signal goes on beside its next try.
   * @default none
   */
  timeout?: number;
  /**
   * `event.value`: the value that the key had, as it was a moment before its deadline (the module's option
   * `values`), in this form. Not with `punctual: false`, which looks at no key.
   *
   * - `'text'`: a string, as UTF-8 text.
   * - `'buffer'`: a string, as its exact bytes.
   * - `'json'`: what the text of a string is as JSON; `event.valueText` has the text where it is none.
   * - `'hash'`: the fields of a hash, as an object of texts.
   *
   * Of other types, as lists and sets, no value is read.
   * @default none
   */
  value?: ValueForm;
  /**
   * Milliseconds, from 0 on, in which a key may come back: the handler runs only if it has not come back so long
   * after its deadline. A key that comes back and runs out again is one event, of its second deadline. In broadcast
   * it is waited for in this process, and in a group in Redis. Retries do not wait again.
   * @default none: the handler runs at once
   */
  grace?: number;
}

/** Options of one handler of warnings: of `@OnKeyExpiring`, and of `RedisExpirySubscriber.subscribeExpiring`. */
export interface OnKeyExpiringOptions extends Omit<
  OnKeyExpiredOptions,
  'value' | 'grace'
> {
  /** Milliseconds before the deadline: the handler runs when the key's time left falls to that. Whole, from 1 on. */
  before: number;
  /**
   * `event.value`: the value of the key, which lives, as it is when the warning is made. The forms are those of
   * `@OnKeyExpired`, and so is the longest that is read (the module's option `values.maxBytes`).
   * @default none
   */
  value?: ValueForm;
}

/** A function that runs when a key is about to expire. A promise or an Observable that it returns is awaited. */
export type KeyExpiringHandler<Value = unknown> = (
  event: KeyExpiringEvent<Value>,
) => unknown;

/** A function that runs when a key expires. A promise or an Observable that it returns is awaited. */
export type KeyExpiredHandler<Value = unknown> = (
  event: KeyExpiredEvent<Value>,
) => unknown;
