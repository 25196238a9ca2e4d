import { performance } from 'node:perf_hooks';

/** By how much two good clocks may drift apart, in ms per ms. */
const DRIFT = 1 / 20_000;

/**
 * What time it is at Redis, told by this process's monotonic clock: a step of the local clock
 * changes nothing, and one of Redis's clock is noticed with the next reading.
 *
 * A reading that was asked for at `sent` and here at `received` puts the difference between the two
 * clocks within a range; readings narrow each other, and one that contradicts them replaces them.
 */
export class RedisClock {
  #low = -Infinity;
  #high = Infinity;
  #readAt = 0;

  constructor(private readonly monotonic = () => performance.now()) {}

  /** The reading of this process's clock to give to `read`. */
  mark(): number {
    return this.monotonic();
  }

  /** This process's own idea of the time, for where Redis may not be asked: deadlines are relative to it then. */
  local(mark: number): number {
    return Math.floor(performance.timeOrigin + mark);
  }

  /** Takes a reading: `now` is Redis's time in epoch ms, cut to the millisecond, asked for at `sent`. */
  read(now: number, sent: number): void {
    const received = this.monotonic();
    const age = (received - this.#readAt) * DRIFT;
    const low = now - received;
    const high = now + 1 - sent;
    const narrowLow = Math.max(low, this.#low - age);
    const narrowHigh = Math.min(high, this.#high + age);
    const agree = narrowLow <= narrowHigh;
    this.#low = agree ? narrowLow : low;
    this.#high = agree ? narrowHigh : high;
    this.#readAt = received;
  }

  /** Whether any reading was taken. */
  get known(): boolean {
    return this.#low > -Infinity;
  }

  /** The latest that it may be at Redis, for all that is known. */
  latest(): number {
    return this.monotonic() + this.#high;
  }

  /** Redis's time in epoch ms, with fractions; NaN before the first reading. */
  now(): number {
    return this.known
      ? this.monotonic() + (this.#low + this.#high) / 2
      : Number.NaN;
  }
}
