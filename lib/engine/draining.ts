import { RedisExpiryError } from '../errors/redis-expiry.error.js';

/** Who is to be told that shutdown begins. Each engine has one. */
export class Draining {
  #hasBegun = false;
  readonly #callbacks = new Set<() => void>();

  /** Throws `CLOSED` once shutdown has begun. */
  assertNotBegun(): void {
    if (this.#hasBegun)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
  }

  /** Calls back once, when shutdown begins, or at once if it has begun. Returns a function that takes the callback back. */
  whenBegun(callback: () => void): () => void {
    if (this.#hasBegun) callback();
    else this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** Shutdown begins. A second call does nothing. */
  begin(): void {
    this.#hasBegun = true;
    const callbacks = [...this.#callbacks];
    this.#callbacks.clear();
    for (const callback of callbacks) callback();
  }
}
