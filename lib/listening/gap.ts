import type { Log } from '../util/log.js';

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

/** Keeps one node's gaps: opened at the last proof of listening, closed when listening again. */
export class GapLog {
  /** The newest gap, open or closed. */
  last: ListeningGap | undefined;
  /** Gaps so far. */
  count = 0;

  constructor(
    private readonly node: string,
    private readonly log: Log,
  ) {}

  get open(): boolean {
    return this.last !== undefined && this.last.to === undefined;
  }

  /** Opens a gap, unless one is open already. */
  begin(from: number, reason: string): void {
    if (this.open) return;
    this.last = { node: this.node, from: new Date(from), reason };
    this.count++;
    this.log.warn(
      `${this.node}: not listening any more (${reason}); expiries from ${this.last.from.toISOString()} on may be missed`,
    );
  }

  /** Closes the open gap, if any. */
  end(): void {
    if (!this.last || this.last.to) return;
    const gap: ListeningGap = { ...this.last, to: new Date() };
    this.last = gap;
    this.log.warn(
      `${this.node}: listening again; expiries from ${gap.from.toISOString()} to ${gap.to!.toISOString()} may have been missed`,
    );
  }
}
