/** A wait that somebody else may end. */
export class Pause {
  #end: (() => void) | undefined;

  /** Resolves after so many ms, or when `end` is called. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends the wait that is under way; without one, does nothing. */
  end(): void {
    this.#end?.();
    this.#end = undefined;
  }
}
