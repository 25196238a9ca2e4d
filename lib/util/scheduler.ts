/** By which clock work waits that is to be done later: the process's own, or one that a test advances. */
export interface Scheduler {
  /** Ms by this clock, from whatever moment on. It never goes back. */
  readonly now: number;
  /** Does the work soon, and never before this call returns. */
  soon(work: () => void): void;
  /** Does the work after so many ms. Returns a function that takes it back. `ref`: the wait keeps the process alive. */
  after(ms: number, work: () => void, options?: { ref: boolean }): () => void;
}

/**
 * The process's own clock. `soon` is the end of this turn of the event loop, after whatever the sockets
 * have brought.
 */
export const PROCESS_TIME: Scheduler = {
  get now() {
    return performance.now();
  },
  soon: (work) => void setImmediate(work),
  after: (ms, work, { ref } = { ref: false }) => {
    const timer = setTimeout(work, ms);
    if (!ref) timer.unref();
    return () => clearTimeout(timer);
  },
};
