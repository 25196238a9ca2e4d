import { Generations } from './generations.js';

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
  readonly #gone = new Generations<Gone>();
  #since = 0;

  /** `ms`: for how long it is remembered, at most. */
  add(key: Buffer, deadline: number, ms = GENERATION): void {
    this.#age();
    const until = performance.now() + ms;
    this.#gone.set(key, { deadline, until });
  }

  /** The key's deadline, if it was found gone a moment ago. */
  take(key: Buffer): number | undefined {
    const gone = this.#gone.get(key);
    this.#gone.delete(key);
    return gone && gone.until >= performance.now() ? gone.deadline : undefined;
  }

  #age(): void {
    const now = Date.now();
    if (Math.abs(now - this.#since) < GENERATION) return;
    this.#gone.turn();
    this.#since = now;
  }
}
