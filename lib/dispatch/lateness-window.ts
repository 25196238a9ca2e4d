/** What `status()` tells of lateness, in ms. */
export interface LatenessStatus {
  /** Half of the events were this late at most. */
  readonly p50?: number;
  /** 99 of 100 events were this late at most. */
  readonly p99?: number;
  readonly max?: number;
  /** Events that these figures are of. */
  readonly count: number;
}

/** Events that are remembered. */
const SIZE = 10_000;

/** How late the newest events were, of those whose deadline was known. */
export class LatenessWindow {
  readonly #values = new Float64Array(SIZE);
  #added = 0;

  add(ms: number): void {
    this.#values[this.#added++ % SIZE] = ms;
  }

  get status(): LatenessStatus {
    const count = Math.min(this.#added, SIZE);
    if (count === 0) return { count };
    const sorted = this.#values.slice(0, count).sort();
    const at = (share: number): number =>
      sorted[Math.min(count - 1, Math.ceil(count * share) - 1)]!;
    return { p50: at(0.5), p99: at(0.99), max: sorted[count - 1]!, count };
  }
}
