/**
 * The time for which something lasts that ends once: a connection, or a leader's term. At its end it rejects
 * whatever waits for an answer that cannot come any more.
 *
 * `Promise.race` against a promise that resolves at the end would do the same, but each race leaves
 * a reaction behind in that promise until it settles: memory that grows with every answer, for as
 * long as the connection lasts. Here nothing is left behind once an answer has come.
 */
export class Lifetime {
  readonly #waiting = new Set<(reason: Error) => void>();
  #reason: Error | undefined;

  /** Why it ended; undefined while it lasts. */
  get ended(): Error | undefined {
    return this.#reason;
  }

  /** How many answers are waited for now. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Settles as the answer does, or rejects with the reason of the end, whichever comes first. */
  guard<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // Attached in any case: an answer that comes after the end must not be an unhandled rejection.
      answer.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(reject);
          reject(error);
        },
      );
      if (this.#reason) reject(this.#reason);
      else this.#waiting.add(reject);
    });
  }

  /** Ends it, and rejects whatever is waited for. Only the first reason counts. */
  end(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    for (const reject of this.#waiting) reject(reason);
    this.#waiting.clear();
  }
}
