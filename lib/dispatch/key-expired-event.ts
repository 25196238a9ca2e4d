/**
 * What a handler is given: one key that expired, and one pattern of the handler that it matched. `Value` is the type of
 * `value` that the handler takes it to have, by its option `value`.
 */
export interface KeyExpiredEvent<Value = unknown> {
  /** UTF-8 text of the key, without the connection's `keyPrefix`. */
  readonly key: string;
  /** The key's exact bytes, without the connection's `keyPrefix`. */
  readonly keyBuffer: Buffer;
  /** The handler's pattern that matched. */
  readonly pattern: string;
  /** What each `*` of the pattern matched, in order: `device:*` on `device:42` gives `['42']`. */
  readonly captures: readonly string[];
  /** The number of the Redis database that held the key. */
  readonly database: number;
  /** When the key's time to live ran out, by Redis's clock, where it is known; after a gap in listening, the last that was known. */
  readonly deadline?: Date;
  /** Milliseconds from the deadline to the detection, where it is known. */
  readonly lateness?: number;
  /** `notification`: heard as it happened. `recovery`: found missing after a time when nobody listened. */
  readonly source: 'notification' | 'recovery';
  /** The consumer group; unset in broadcast. */
  readonly group?: string;
  /** The same on every redelivery of this expiry: an idempotency key. Unset in broadcast. */
  readonly id?: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /**
   * The value that the key had, in the form that the handler's option `value` names, as it was `valueAge` ms before its
   * deadline. It is of the life that ended, and the same on every redelivery. Unset where the handler asks for none, where
   * nobody looked in time (`source: 'recovery'`), and where the value was longer than `values.maxBytes`, of another type
   * than asked for, or no JSON.
   */
  readonly value?: Value;
  /** Milliseconds from the reading of the value to the deadline; the module's `values.lead` at most. */
  readonly valueAge?: number;
  /** With `value: 'json'`, where the value is no JSON: its text. */
  readonly valueText?: string;
  /**
   * Aborted when nobody waits for this run any more: at the handler's `timeout`, with a `RedisExpiryError`
   * `HANDLER_TIMEOUT` as its reason, or when shutdown gives the handler up, with `CLOSED`. To be handed to
   * whatever takes one, as `fetch` does.
   */
  readonly signal: AbortSignal;
}
