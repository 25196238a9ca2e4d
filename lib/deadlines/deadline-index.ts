/** When to look at a key: no earlier than `at`, in epoch ms by Redis's clock. A lower bound of its deadline. */
export interface DeadlineEntry {
  readonly key: Buffer;
  readonly at: number;
  /**
   * Of a deadline that was learnt because Redis announced something of the key a moment ago: that it was created, or
   * that it was given a deadline. Undefined where it was found otherwise.
   */
  readonly learnt?: 'created' | 'renewed';
}

/** What looking at a key showed. */
export interface Verdict {
  readonly key: Buffer;
  /** The `at` with which the key was peeked; undefined if it was not in the index. */
  readonly seen: number | undefined;
  /** When to look again at a key that lives. Undefined where it is gone, has no deadline any more, or nobody asks for it. */
  readonly at: number | undefined;
  /** It expired: whoever owns the entry has an event to hand on. For an index that is shared. */
  readonly fire?: {
    readonly source: 'notification' | 'recovery';
    readonly deadline: number | undefined;
  };
}

/**
 * Knows when to look at which key.
 *
 * Guarantees: a key has one entry at most; `enrol` only ever brings a look forward; `settle` acts
 * on an entry only if its `at` is still the one that was seen. So a caller that is answered `true` owns that
 * look, and a key that was enrolled anew meanwhile keeps its new entry.
 */
export interface DeadlineIndex {
  /** The name of the sorted set that it is, where it is one of the server's and these keys belong in it: they can be read and noted in one step then. */
  zsetFor?(keys: readonly Buffer[]): string | undefined;
  /** Adds keys; of a key that it knows, the sooner look counts. `isNoted`: they are in its sorted set already. */
  enrol(entries: readonly DeadlineEntry[], isNoted?: boolean): Promise<void>;
  /** Resolves with the entries whose deadline is before `now`, the oldest first, `limit` at most, and when the next one after them is due. */
  peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }>;
  /** Applies verdicts. Resolves with whether, for each, the index still held what was seen. */
  settle(verdicts: readonly Verdict[]): Promise<boolean[]>;
  /** How many keys it knows. */
  size(): Promise<number>;
}
