import type { Log } from '../util/log.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import type { GapTotals } from './gap-totals.js';

/** A time in which a node's expiries may not have been heard. */
export interface ListeningGap {
  /** The node's address. */
  readonly node: string;
  /** When listening was last proven. */
  readonly from: Date;
  /** When listening was acknowledged again; unset while the gap lasts. */
  readonly to?: Date;
  readonly reason: string;
}

/** What is known of a node that comes late, and of the nodes whose slots it took over. */
export interface Newcomer {
  /** As of `RedisNode`. */
  readonly since: number | undefined;
  /** Since when each predecessor is not listened to, in epoch ms; undefined for one that was. */
  readonly predecessors: readonly (number | undefined)[];
}

/**
 * Epoch ms from which on nobody listened to a node that was found while others were listened to: since it may
 * have served keys, or since one of its predecessors was lost, whose keys it serves now. Undefined for a node
 * that was there from the start.
 */
export function unheardSince({
  since,
  predecessors,
}: Newcomer): number | undefined {
  if (since === undefined) return undefined;
  return Math.min(since, ...predecessors.map((lost) => lost ?? Infinity));
}

/**
 * Since when nobody listens to one node: the one place that knows it, for people and for whoever keeps the
 * node's deadlines. Its `NodeListener` tells it of each loss, and it opens a gap, which `status()` and the log
 * show by this process's clock.
 *
 * A group has a second book of gaps, `GapBook`, and they cannot be one. This one is about one listener of
 * one process; that one outlives listeners and leaders, is kept by Redis's clock, with which deadlines are
 * compared, and forgets a gap as soon as all that fell due in it is recovered.
 */
export class ListeningGaps {
  /** The newest gap, open or closed. */
  last: ListeningGap | undefined;
  /** Gaps so far. */
  count = 0;

  constructor(
    private readonly node: string,
    private readonly deadlines: Pick<DeadlineKeeper, 'lost'> | undefined,
    private readonly log: Log,
    private readonly totals?: GapTotals,
  ) {}

  get open(): boolean {
    return this.last !== undefined && this.last.to === undefined;
  }

  /** Epoch ms since when nobody listens; undefined while somebody does. */
  get lostSince(): number | undefined {
    return this.open ? this.last?.from.getTime() : undefined;
  }

  /**
   * Listening is lost. Opens a gap, unless one is open already, and tells who keeps the deadlines.
   *
   * @param from epoch ms at which it was certainly listened to; undefined if it never was
   */
  lost(from: number | undefined, reason: string): void {
    this.deadlines?.lost(from === undefined ? 0 : Date.now() - from);
    if (from !== undefined) this.begin(from, reason);
  }

  /** Opens a gap, unless one is open already. */
  begin(from: number, reason: string): void {
    if (this.open) return;
    this.last = { node: this.node, from: new Date(from), reason };
    this.count++;
    this.totals?.begin(this.last);
    this.log.warn(
      `${this.node}: not listening any more (${reason}); expiries from ${this.last.from.toISOString()} on may be missed`,
    );
  }

  /** Closes the open gap, if any. */
  end(): void {
    if (!this.last || this.last.to) return;
    this.totals?.end(this.last);
    const gap: ListeningGap = { ...this.last, to: new Date() };
    this.last = gap;
    this.log.warn(
      `${this.node}: listening again; expiries from ${gap.from.toISOString()} to ${gap.to!.toISOString()} may have been missed`,
    );
  }

  /** Nobody here listens to the node any more, on purpose: an open gap does not grow from here on. */
  close(): void {
    if (this.last) this.totals?.end(this.last);
  }
}
