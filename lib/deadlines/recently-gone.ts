/** Ms for which a generation of keys is kept. */
const GENERATION = 5_000;

interface Gone {
  readonly deadline: number;
  readonly until: number;
}

/**
 * Remembers for a few seconds the deadlines of keys that were found gone: the announcement, which
 * comes by another connection, may arrive after the look that caused it.
 */
export class RecentlyGone {
  #young = new Map<string, Gone>();
  #old = new Map<string, Gone>();
  #since = 0;

  /** `ms`: for how long it is remembered, at most. */
  add(key: Buffer, deadline: number, ms = GENERATION): void {
    this.#age();
    const until = performance.now() + ms;
    this.#young.set(key.toString('latin1'), { deadline, until });
  }

  /** The key's deadline, if it was found gone a moment ago. */
  take(key: Buffer): number | undefined {
    if (this.#young.size + this.#old.size === 0) return undefined;
    const text = key.toString('latin1');
    const gone = this.#young.get(text) ?? this.#old.get(text);
    this.#young.delete(text);
    this.#old.delete(text);
    return gone && gone.until >= performance.now() ? gone.deadline : undefined;
  }

  #age(): void {
    const now = Date.now();
    if (Math.abs(now - this.#since) < GENERATION) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#since = now;
  }
}
