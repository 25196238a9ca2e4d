/** All times since the start in which expiries may not have been heard, as `status()` tells them. */
export interface GapTotalsStatus {
  /** How many there were, in all nodes together; one that lasts counts. */
  readonly count: number;
  /** How long they were together, in seconds; what has passed of one that lasts counts. */
  readonly seconds: number;
}

/** A gap, by when it began. */
interface Begun {
  readonly from: Date;
}

/**
 * The gaps of all nodes of one engine together. `ListeningGaps` of each node tells it of each, so that neither a node that
 * leaves nor a leader's term that ends takes anything away from the figures. They never fall.
 */
export class GapTotals {
  #count = 0;
  #endedMs = 0;
  readonly #open = new Set<Begun>();

  begin(gap: Begun): void {
    this.#count++;
    this.#open.add(gap);
  }

  /** It is over, or nobody is there any more to see its end. */
  end(gap: Begun): void {
    if (this.#open.delete(gap)) this.#endedMs += lengthOf(gap);
  }

  get status(): GapTotalsStatus {
    let ms = this.#endedMs;
    for (const gap of this.#open) ms += lengthOf(gap);
    return { count: this.#count, seconds: ms / 1_000 };
  }
}

/** The clock may have been set back. */
const lengthOf = ({ from }: Begun): number =>
  Math.max(0, Date.now() - from.getTime());
