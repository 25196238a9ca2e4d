/**
 * Remembers a value of each key for a while. The one memory of keys to which something happened a moment
 * ago: broadcast's deadlines of keys that were found gone (`AnnouncementJudge`) and expiries that were
 * told (`DuplicateFilter`), and a group's announcements that its own looks caused (`Evidence`).
 *
 * Guarantees: a key is remembered for `memoryMs` at least. It is forgotten at the latest when keys are
 * set at twice that and later, so that memory is bounded by the rate at which keys are set. A caller to
 * whom the exact age matters puts the time into the value. All methods are O(1).
 *
 * Keys are given by their bytes, or as latin1 text.
 */
export class RecentKeys<V> {
  /** Two generations: what was set since the last turn, and what was set between the two turns before. */
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #turnedAt: number;
  #heldUntil = -Infinity;

  /** @param now a clock in ms that never goes back */
  constructor(
    private readonly memoryMs: number,
    private readonly now = (): number => performance.now(),
  ) {
    this.#turnedAt = now();
  }

  /** How many values are remembered; a key that was set again counts twice for a while. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: Buffer | string): V | undefined {
    // The common case: spares the key's text.
    if (this.size === 0) return undefined;
    const text = textOf(key);
    return this.#young.get(text) ?? this.#old.get(text);
  }

  /** The value of a key, which is forgotten then. */
  take(key: Buffer | string): V | undefined {
    if (this.size === 0) return undefined;
    const text = textOf(key);
    const value = this.get(text);
    this.delete(text);
    return value;
  }

  set(key: Buffer | string, value: V): void {
    const now = this.now();
    if (now >= this.#heldUntil) this.#age(now);
    this.#young.set(textOf(key), value);
  }

  delete(key: Buffer | string): void {
    if (this.size === 0) return;
    const text = textOf(key);
    this.#young.delete(text);
    this.#old.delete(text);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }

  /** What was set more than `memoryMs` ago may be forgotten now, even if it was held. */
  age(): void {
    this.#age(this.now());
  }

  /** Nothing that is remembered now is forgotten within so many ms, except by `age`. */
  hold(ms: number): void {
    this.#heldUntil = this.now() + ms;
  }

  #age(now: number): void {
    if (now < this.#turnedAt + this.memoryMs) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#turnedAt = now;
  }
}

const textOf = (key: Buffer | string): string =>
  typeof key === 'string' ? key : key.toString('latin1');
