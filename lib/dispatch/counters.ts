/**
 * What happened to the events since the start, counted per handler that an expiry matched. At any
 * moment: received = handled + failed + superseded + cameBack + dropped + queued + running. What waits for the
 * grace of its handler is not received yet.
 */
export interface ExpiryCounters {
  /** Expiries that were heard and matched a handler. */
  received: number;
  /** Handlers that ended well. */
  handled: number;
  /** Handlers that threw or rejected. */
  failed: number;
  /** Tries after the first. Group delivery only. */
  retried: number;
  /** Events given up after their last try. Group delivery only. */
  deadLettered: number;
  /** Times that an event was passed on, as only other instances have a handler for it. Group delivery only. */
  passedOn: number;
  /** Events not handed over because the key had been written again. */
  superseded: number;
  /** Events not handed over because the key had come back within the handler's `grace`. */
  cameBack: number;
  /** Events found by looking after a time when nobody listened. */
  recovered: number;
  /** Keys about to run out whose value was not read, as it was longer than `values.maxBytes`. In a group, by this instance while it leads. */
  valuesTooLong: number;
  /** Events given up because the queue was full, their subscription ended, shutdown did not wait, or another instance of the group had taken them over. */
  dropped: number;
}

export const newCounters = (): ExpiryCounters => ({
  received: 0,
  handled: 0,
  failed: 0,
  retried: 0,
  deadLettered: 0,
  passedOn: 0,
  superseded: 0,
  cameBack: 0,
  recovered: 0,
  valuesTooLong: 0,
  dropped: 0,
});
