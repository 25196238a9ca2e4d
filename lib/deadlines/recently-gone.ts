/** Ms for which a key is remembered at the least. */
const MEMORY = 5_000;

/**
 * Remembers for a few seconds the deadlines of keys that were found gone: the announcement, which
 * comes by another connection, may arrive after the look that caused it.
 */
export class RecentlyGone {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #since = 0;

  add(key: Buffer, deadline: number): void {
    this.#age();
    this.#young.set(key.toString('latin1'), deadline);
  }

  /** The key's deadline, if it was found gone a moment ago. */
  take(key: Buffer): number | undefined {
    if (this.#young.size + this.#old.size === 0) return undefined;
    const text = key.toString('latin1');
    const deadline = this.#young.get(text) ?? this.#old.get(text);
    this.#young.delete(text);
    this.#old.delete(text);
    return deadline;
  }

  #age(): void {
    const now = Date.now();
    if (Math.abs(now - this.#since) < MEMORY) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#since = now;
  }
}
