import { performance } from 'node:perf_hooks';

/** How fast two clocks drift apart at most, in ms per ms: NTP slews a clock by 500 ppm. */
const DRIFT_RATE = 1 / 2_000;
/** The same for a clock that contradicted earlier readings: chrony slews one by 100,000 ppm at most. */
const SLEWED_DRIFT_RATE = 1 / 10;
/** For how many ms such a clock is doubted. */
const DOUBT_MS = 60_000;

/**
 * What time it is at Redis, told by this process's monotonic clock: a step of the local clock
 * changes nothing, and one of Redis's clock is noticed with the next reading.
 *
 * A reading that was asked for at `sent` and here at `received` puts the difference between the two
 * clocks within a range; readings narrow each other, and one that contradicts them replaces them:
 * then Redis's clock was set, or is slewed, and for a while older readings narrow newer ones less.
 */
export class RedisClock {
  /**
   * Called after a reading that contradicts the ones before, with the ms by which Redis's clock is ahead
   * of what it was taken for, or behind it if that is negative. A sleep until a time of Redis's has to be
   * measured anew. The clock's owner sets it.
   */
  onStep: (ms: number) => void = () => undefined;
  #low = -Infinity;
  #high = Infinity;
  #readAt = -Infinity;
  #doubtedUntil = -Infinity;

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
    const drift = this.#drifted(received);
    const low = now - received;
    const high = now + 1 - sent;
    const narrowLow = Math.max(low, this.#low - drift);
    const narrowHigh = Math.min(high, this.#high + drift);
    const agree = narrowLow <= narrowHigh;
    const before = this.#offset;
    this.#low = agree ? narrowLow : low;
    this.#high = agree ? narrowHigh : high;
    this.#readAt = received;
    if (agree) return;
    this.#doubtedUntil = received + DOUBT_MS;
    this.onStep(this.#offset - before);
  }

  /** Ms since the newest reading. */
  get age(): number {
    return this.monotonic() - this.#readAt;
  }

  /** Whether any reading was taken. */
  get known(): boolean {
    return this.#low > -Infinity;
  }

  /** The latest that it may be at Redis, for all that is known. */
  latest(): number {
    const now = this.monotonic();
    return this.known ? now + this.#high + this.#drifted(now) : Infinity;
  }

  /** Redis's time in epoch ms, with fractions; NaN before the first reading. */
  now(): number {
    return this.known ? this.monotonic() + this.#offset : Number.NaN;
  }

  /** By how much Redis's clock is ahead of this process's, most likely. */
  get #offset(): number {
    return (this.#low + this.#high) / 2;
  }

  /** By how much the clocks may have drifted apart since the newest reading. */
  #drifted(now: number): number {
    if (!this.known) return 0;
    const drift = now < this.#doubtedUntil ? SLEWED_DRIFT_RATE : DRIFT_RATE;
    return (now - this.#readAt) * drift;
  }
}
