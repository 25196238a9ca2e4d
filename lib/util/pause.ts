/** A wait that somebody else may end. One wait at a time: a new one takes the place of the one before. */
export class Pause {
  #end: (() => void) | undefined;

  /**
   * Resolves after so many ms, or when `end` is called.
   *
   * @param ref whether the wait keeps the process alive
   */
  wait(ms: number, { ref = true } = {}): Promise<void> {
    this.end();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.end(), ms);
      if (!ref) timer.unref();
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends the wait that is under way; without one, does nothing. */
  end(): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }
}
