/** Runs one work after the other, in the order in which they come. One that fails does not hold up the next. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs the work in its turn. Resolves or rejects as the work does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
