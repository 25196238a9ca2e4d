import { performance } from 'node:perf_hooks';

/** Node's timers take no longer delay, in ms: they fire at once where one is asked for. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/**
 * The one timer of one kind of work, however many callers ask for that work.
 *
 * States: idle → `within` → waiting → the work runs → idle, or waiting again if it was asked for
 * meanwhile. `stop` ends it for good.
 *
 * Guarantees: there is at most one timer. A caller that asks again moves it where that is sooner,
 * and never starts a second one. The work never runs twice at once. A request that comes while the
 * work runs is served by another run, because the current one may have looked too early to see its
 * cause. The timer does not keep the process alive.
 */
export class SoonestTimer {
  #timer: NodeJS.Timeout | undefined;
  /** When the work is due, by `performance.now()`. */
  #dueAt = Infinity;
  #isRunning = false;
  #isStopped = false;

  /** @param work must not reject: there is nobody to catch it */
  constructor(private readonly work: () => Promise<void>) {}

  /** Has the work done in so many ms, unless it is due sooner anyway. */
  within(ms: number): void {
    const at = performance.now() + Math.max(0, ms);
    if (this.#isStopped || at >= this.#dueAt) return;
    this.#dueAt = at;
    if (!this.#isRunning) this.#arm();
  }

  /** Nothing is due any more, and nothing ever will be. A run that has begun goes on to its end. */
  stop(): void {
    this.#isStopped = true;
    this.#dueAt = Infinity;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const ms = this.#dueAt - performance.now();
    this.#timer = setTimeout(
      () => void this.#run(),
      Math.min(Math.ceil(Math.max(0, ms)), LONGEST_DELAY_MS),
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
