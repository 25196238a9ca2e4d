/** How late all events since the start were detected: unlike percentiles, such figures can be added up over instances. */
export interface LatenessHistogram {
  /** Upper bounds of the buckets, in seconds; each belongs to its bucket. */
  readonly boundaries: readonly number[];
  /** How many events there are in each bucket; one more than there are bounds, for what was later than the last. */
  readonly counts: readonly number[];
  /** The lateness of all events together, in seconds. */
  readonly sum: number;
  /** How many events there were. */
  readonly count: number;
}

/** In seconds. */
export const LATENESS_BOUNDARIES: readonly number[] = [
  0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300,
];

/** Counts events by how late they were. `LatenessWindow` has one. */
export class LatenessBuckets {
  readonly #counts = LATENESS_BOUNDARIES.map(() => 0).concat(0);
  #sumMs = 0;
  #count = 0;

  add(ms: number): void {
    let bucket = 0;
    while (ms > (LATENESS_BOUNDARIES[bucket] ?? Infinity) * 1_000) bucket++;
    this.#counts[bucket]!++;
    this.#sumMs += ms;
    this.#count++;
  }

  get status(): LatenessHistogram {
    return {
      boundaries: [...LATENESS_BOUNDARIES],
      counts: [...this.#counts],
      sum: this.#sumMs / 1_000,
      count: this.#count,
    };
  }
}
