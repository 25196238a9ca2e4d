/** Ms in which a connection may repeat what was told before it. A scan of a million keys takes about five seconds. */
const REPEATING = 10_000;

/**
 * Remembers which expiries one node told lately, where another server may stand in its place before
 * that is noticed: then both hold a key as primaries when it is due, and the new one tells its expiry
 * too, when it comes to it.
 *
 * A repeat is an expiry that was told shortly before the connection was made anew, of a key of which
 * nothing was learnt since. So a key that is created anew on the new server while the old one is still
 * listened to, and expires before a scan finds it, may be taken for one.
 */
export class Told {
  /** Keys, with the ms at which they were told; whatever is older than both generations is forgotten. */
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #turnedAt = 0;
  #reconnectedAt = -Infinity;

  /** `within`: ms for which another server may have stood there unnoticed. `now`: a clock in ms. */
  constructor(
    private readonly within: number,
    private readonly now = (): number => performance.now(),
  ) {}

  /** What comes from here on comes by another connection. */
  reconnected(): void {
    this.#reconnectedAt = this.now();
  }

  /** The key was created or changed: its next expiry is none that was told. */
  forget(key: Buffer): void {
    if (this.#young.size + this.#old.size === 0) return;
    const text = key.toString('latin1');
    this.#young.delete(text);
    this.#old.delete(text);
  }

  /** An expiry was heard: whether it is a repeat. `isKnown`: the key was known to live. */
  repeats(key: Buffer, isKnown: boolean): boolean {
    const now = this.now();
    this.#age(now);
    const text = key.toString('latin1');
    const at = this.#young.get(text) ?? this.#old.get(text) ?? -Infinity;
    this.#young.set(text, now);
    return (
      !isKnown &&
      now < this.#reconnectedAt + REPEATING &&
      at < this.#reconnectedAt &&
      at >= this.#reconnectedAt - this.within
    );
  }

  /** Nothing is forgotten as long as it may be repeated. */
  #age(now: number): void {
    if (now < this.#reconnectedAt + REPEATING) return;
    if (now < this.#turnedAt + this.within) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#turnedAt = now;
  }
}
