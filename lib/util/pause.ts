import { sleep } from './sleep.js';

/**
 * A sleep that somebody else may end, again and again: for loops that something wakes before their time.
 * Where a sleep ends early only once, at the end of its owner, an `AbortSignal` and `sleep` do.
 *
 * Guarantees: one sleep at a time, because a new one ends the one before.
 */
export class Pause {
  #abort: AbortController | undefined;

  /**
   * Resolves after so many ms, or when `end` is called.
   *
   * @param ref whether the sleep keeps the process alive
   */
  wait(ms: number, { ref = true } = {}): Promise<void> {
    this.end();
    const abort = new AbortController();
    this.#abort = abort;
    return sleep(ms, { ref, signal: abort.signal });
  }

  /** Ends the sleep that is under way; without one, it does nothing. */
  end(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }
}
