/** Node's timers take no longer delay, in ms: they fire at once where one is asked for. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/**
 * The one timer of one kind of work, however many callers ask for that work.
 *
 * States: idle → `within` → waiting → the work runs → idle, or waiting again if it was asked for
 * meanwhile. `cancel` makes it idle, and `stop` ends it for good.
 *
 * Guarantees: there is at most one timer. A caller that asks again moves it where that is sooner,
 * and never starts a second one. The work never runs twice at once, nor before `within` returns. A
 * request that comes while the work runs is served by another run, because the current one may have
 * looked too early to see its cause. What is due at once runs at the end of this turn of the event
 * loop, after whatever the sockets have brought. A wait does not keep the process alive.
 */
export class SoonestTimer {
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  /** When the work is due, by `performance.now()`. */
  #dueAt = Infinity;
  #isRunning = false;
  #isStopped = false;

  /** @param work must not reject: there is nobody to catch it */
  constructor(private readonly work: () => Promise<void> | void) {}

  /** Has the work done in so many ms, unless it is due sooner anyway. */
  within(ms: number): void {
    const at = performance.now() + Math.max(0, ms);
    if (this.#isStopped || at >= this.#dueAt) return;
    this.#dueAt = at;
    if (!this.#isRunning) this.#arm();
  }

  /** Nothing is due any more, until it is asked for again. A run that has begun goes on to its end. */
  cancel(): void {
    this.#dueAt = Infinity;
    this.#disarm();
  }

  /** Nothing is due any more, and nothing ever will be. A run that has begun goes on to its end. */
  stop(): void {
    this.#isStopped = true;
    this.cancel();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }

  #arm(): void {
    this.#disarm();
    const ms = this.#dueAt - performance.now();
    if (ms <= 0) {
      // Not `unref`: then it would wait for whatever else wakes the event loop.
      this.#immediate = setImmediate(() => void this.#run());
      return;
    }
    this.#timer = setTimeout(
      () => void this.#run(),
      Math.min(Math.ceil(ms), LONGEST_DELAY_MS),
    ).unref();
  }

  async #run(): Promise<void> {
    // Node rounds down, and a long delay was cut: it may be too early.
    if (performance.now() < this.#dueAt) {
      this.#arm();
      return;
    }
    this.#dueAt = Infinity;
    this.#isRunning = true;
    try {
      await this.work();
    } finally {
      this.#isRunning = false;
      if (this.#dueAt < Infinity) this.#arm();
    }
  }
}
