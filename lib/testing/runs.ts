import * as timers from 'node:timers';

/** The process's own: the global ones may be a test framework's fake by the time that they are needed. */
const { setTimeout, clearTimeout } = timers;

/** How one try of a handler ended. */
export interface HandledExpiry {
  /** `Class.method`; the function's name for a handler that was subscribed by hand. */
  readonly handler: string;
  /** The handler's pattern. */
  readonly pattern: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** What it returned: what its promise resolved to, or the last value of its Observable. */
  readonly result?: unknown;
  /** What it threw, or rejected with. */
  readonly error?: unknown;
}

/** One try, from the moment at which it is given to the dispatcher. */
export interface OpenRun {
  /** The handler has a `timeout`. */
  readonly isLimited: boolean;
}

/**
 * Ms of the process's own time that a handler with a `timeout`, or one that shutdown waits for, is given to
 * settle before the kit's clock moves on without it.
 */
const GRACE_MS = 50;

/** Every try that has not ended, of all engines of one kit, so that a test can wait for them. */
export class OpenRuns {
  readonly #open = new Set<OpenRun>();
  /** One for each who waits. */
  readonly #wakers = new Set<() => void>();

  begin(run: OpenRun): void {
    this.#open.add(run);
  }

  end(run: OpenRun): void {
    this.#open.delete(run);
    for (const wake of this.#wakers) wake();
  }

  /**
   * Resolves when none is open any more. A handler with a `timeout` may be meant to use all of it: where
   * there is one, resolves also when none has ended for a while.
   */
  async settled(): Promise<void> {
    const isLimited = (): boolean =>
      [...this.#open].some((run) => run.isLimited);
    while (this.#open.size > 0)
      if (!(await this.#progress(isLimited()))) return;
  }

  /** Resolves when none is open any more, or when none has ended for a while. */
  async settledSoon(): Promise<void> {
    while (this.#open.size > 0) if (!(await this.#progress(true))) return;
  }

  /** Resolves with whether one has ended; with false if none did in time. `isLimited`: whether there is such a time. */
  #progress(isLimited: boolean): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (hasEnded: boolean): void => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        resolve(hasEnded);
      };
      const wake = (): void => settle(true);
      const timer = isLimited
        ? setTimeout(() => settle(false), GRACE_MS)
        : undefined;
      this.#wakers.add(wake);
    });
  }
}
