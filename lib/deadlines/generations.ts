/** A map by binary keys that forgets what was not set in its two newest generations. */
export class Generations<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  get(key: Buffer): V | undefined {
    if (this.#isEmpty) return undefined;
    const text = key.toString('latin1');
    return this.#young.get(text) ?? this.#old.get(text);
  }

  set(key: Buffer, value: V): void {
    this.#young.set(key.toString('latin1'), value);
  }

  delete(key: Buffer): void {
    if (this.#isEmpty) return;
    const text = key.toString('latin1');
    this.#young.delete(text);
    this.#old.delete(text);
  }

  /** Begins a new generation, and forgets the one before the last. */
  turn(): void {
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** The common case: spares the key's text. */
  get #isEmpty(): boolean {
    return this.#young.size + this.#old.size === 0;
  }
}
