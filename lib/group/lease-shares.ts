/** Ms until a lease is given back again, where nobody took the one before: who seems to be well may be dead. */
const REST_MS = 20_000;

/** What a `LeaderLease` goes by beside its own partition. */
export interface LeaseShare {
  /** Whether a lease that is free is left to other instances for a moment, because this one has its share. */
  readonly isReluctant: boolean;
  /** Whether the lease, which this instance holds, is to be given back. Who is told so gives it back. */
  givesBack(): boolean;
  /** Who holds the lease, by what was learnt just now: the name of an instance; undefined for nobody. */
  note(holder: string | undefined): void;
  /** The partition counts no more. */
  close(): void;
}

/** For a partition that is alone. */
export const WHOLE_SHARE: LeaseShare = {
  isReluctant: false,
  givesBack: () => false,
  note: () => undefined,
  close: () => undefined,
};

/**
 * Spreads the leases of a group's partitions over its instances. An instance has one, with a `LeaseShare` for each
 * partition, whose `LeaderLease` tells whom it found to hold the lease. So each instance knows by its own requests
 * how many leases every other one holds; of those that hold none it knows how many there are.
 *
 * Rules: an instance that has its share, partitions / living instances, rounded up, leaves a free lease to others
 * for a moment. One that has two more than some other one gives one back; and no second one before somebody took
 * the first, or for 20 s if nobody did.
 */
export class LeaseShares {
  /** Who holds the lease of each partition. */
  readonly #holders = new Map<LeaseShare, string | undefined>();
  /** The partition whose lease was given back last, until it is known who took it. */
  #given: LeaseShare | undefined;
  #restsUntil = -Infinity;

  /**
   * @param instance this instance's name
   * @param living how many instances are well, this one included: see `HandlerRegistry`
   */
  constructor(
    private readonly instance: string,
    private readonly living: () => number,
  ) {}

  /** Takes another partition into account. */
  open(): LeaseShare {
    const isReluctant = (): boolean => this.#own >= this.#fair;
    const share: LeaseShare = {
      get isReluctant() {
        return isReluctant();
      },
      givesBack: () => this.#givesBack(share),
      note: (holder) => this.#note(share, holder),
      close: () => {
        this.#holders.delete(share);
        if (this.#given === share) this.#given = undefined;
      },
    };
    this.#holders.set(share, undefined);
    return share;
  }

  /** How many this instance holds. */
  get #own(): number {
    return this.#counts().get(this.instance) ?? 0;
  }

  /** How many an instance is to hold at most. */
  get #fair(): number {
    const counts = this.#counts();
    return Math.ceil(
      this.#holders.size / Math.max(1, counts.size, this.living()),
    );
  }

  /** How many some other living instance holds, the one that has least; undefined where there is no other. */
  get #least(): number | undefined {
    const counts = this.#counts();
    counts.delete(this.instance);
    const others = this.living() - 1;
    if (counts.size < others) return 0;
    return counts.size === 0 ? undefined : Math.min(...counts.values());
  }

  #counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const holder of this.#holders.values())
      if (holder !== undefined)
        counts.set(holder, (counts.get(holder) ?? 0) + 1);
    return counts;
  }

  #givesBack(share: LeaseShare): boolean {
    if (performance.now() < this.#restsUntil) return false;
    const least = this.#least;
    if (least === undefined || this.#own - least < 2) return false;
    this.#given = share;
    this.#restsUntil = performance.now() + REST_MS;
    return true;
  }

  #note(share: LeaseShare, holder: string | undefined): void {
    if (!this.#holders.has(share)) return;
    this.#holders.set(share, holder);
    if (this.#given !== share || holder === undefined) return;
    this.#given = undefined;
    // Nobody wanted it: that does not change soon.
    if (holder !== this.instance) this.#restsUntil = -Infinity;
  }
}
