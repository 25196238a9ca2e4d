/** Wakes all who wait for the next change of something. What they wait for they look up themselves, in a loop. */
export class Signal {
  #waiting: (() => void)[] = [];

  /** Resolves at the next `fire`. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves what `next` has returned so far. */
  fire(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
