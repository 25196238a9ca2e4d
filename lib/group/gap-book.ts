/** A time by Redis's clock, in epoch ms, with both of its ends. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Spans that are remembered. */
const MOST = 1_000;
const NONE: readonly Span[] = [];
/** The end of a span that has none yet: later than every deadline. */
const FOREVER = Number.MAX_SAFE_INTEGER;

/**
 * The times, by Redis's clock, in which nobody listened for a group: a key that is gone and whose
 * deadline fell into one of them expired unheard, for all that can be known. `GroupNode` keeps it.
 *
 * `ListeningGaps` tells of the same losses, and they cannot be one: that one is about one listener of one
 * process, by this process's clock, for people. This one begins at the low watermark that another
 * process may have left, and forgets a gap as soon as all that fell due in it is recovered; on a Cluster a
 * while later, because entries of keys that were on their way come late.
 */
export class GapBook {
  #open: number | undefined;
  #settledBefore = -Infinity;
  readonly #closed: Span[] = [];

  /** @param memoryMs for how many ms a gap matters after all that was known to fall due in it is settled */
  constructor(private readonly memoryMs = 0) {}

  /** Nobody listens since then. */
  begin(from: number): void {
    this.#settledBefore = Math.min(this.#settledBefore, from);
    this.#open = Math.min(from, this.#open ?? Infinity);
  }

  /** Somebody listens from then on. */
  end(to: number): void {
    if (this.#open === undefined) return;
    this.#closed.push({ from: Math.min(this.#open, to), to });
    this.#open = undefined;
    if (this.#closed.length > MOST) this.#closed.shift();
  }

  /** Redis's clock was set back by so many ms since the open gap began: it began earlier, by what the clock says now. */
  setBack(ms: number): void {
    if (this.#open !== undefined) this.begin(this.#open - ms);
  }

  /** Keys come that somebody else watched: the times in which nobody listened to them come along. */
  inherit(from: GapBook): void {
    for (const span of from.#closed) {
      this.#settledBefore = Math.min(this.#settledBefore, span.from);
      this.#closed.push(span);
    }
    this.#closed.sort((a, b) => a.to - b.to);
  }

  /** Every deadline before then is settled: what is enrolled with an earlier one comes late, and proves nothing. */
  settle(before: number): void {
    const since = before - this.memoryMs;
    this.#settledBefore = Math.max(since, this.#settledBefore);
    while (this.#closed[0] && this.#closed[0].to < since) this.#closed.shift();
  }

  /** Whether there is no such time that still matters. */
  get isEmpty(): boolean {
    return this.#open === undefined && this.#closed.length === 0;
  }

  get isOpen(): boolean {
    return this.#open !== undefined;
  }

  /** The times that still matter: a deadline in one of them was missed, or may have been. */
  get spans(): readonly Span[] {
    if (this.isEmpty) return NONE;
    const open =
      this.#open === undefined ? [] : [{ from: this.#open, to: FOREVER }];
    return [...this.#closed, ...open]
      .filter(({ to }) => to >= this.#settledBefore)
      .map(({ from, to }) => ({
        from: Math.max(from, this.#settledBefore),
        to,
      }));
  }

  /** Whether nobody listened at that moment. */
  covers(at: number): boolean {
    return this.spans.some(({ from, to }) => at >= from && at <= to);
  }
}
