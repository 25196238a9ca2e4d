import {
  LatenessBuckets,
  type LatenessHistogram,
} from './lateness-histogram.js';

/** How late events were, in ms, as `status()` tells it. */
export interface LatenessStatus {
  /** Half of the events were this late at most. */
  readonly p50?: number;
  /** 99 of 100 events were this late at most. */
  readonly p99?: number;
  readonly max?: number;
  /** Of how many events these figures are. */
  readonly count: number;
  /** Of all events since the start. */
  readonly histogram: LatenessHistogram;
}

/** How many events are remembered. */
const MOST_EVENTS = 10_000;

/** Keeps how late events were: each of the newest 10,000 events were, of those whose deadline was known, and all of them by buckets. Broadcast and groups add to the engine's one. */
export class LatenessWindow {
  readonly #values = new Float64Array(MOST_EVENTS);
  readonly #buckets = new LatenessBuckets();
  #added = 0;

  add(ms: number): void {
    this.#values[this.#added++ % MOST_EVENTS] = ms;
    this.#buckets.add(ms);
  }

  get status(): LatenessStatus {
    const count = Math.min(this.#added, MOST_EVENTS);
    const histogram = this.#buckets.status;
    if (count === 0) return { count, histogram };
    const sorted = this.#values.slice(0, count).sort();
    const at = (share: number): number =>
      sorted[Math.min(count - 1, Math.ceil(count * share) - 1)]!;
    const max = sorted[count - 1]!;
    return { p50: at(0.5), p99: at(0.99), max, count, histogram };
  }
}
