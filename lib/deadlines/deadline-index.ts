/** When to look at a key: no earlier than `at`, in epoch ms by Redis's clock. A lower bound of its deadline. */
export interface DeadlineEntry {
  readonly key: Buffer;
  readonly at: number;
}

/** What looking at a due key showed. `seen` is the `at` it was peeked with. */
export type Verdict =
  /** It lives: look again at `at`. */
  | { readonly key: Buffer; readonly seen: number; readonly at: number }
  /** It is gone, has no deadline any more, or nobody asks for it. */
  | { readonly key: Buffer; readonly seen: number; readonly at: undefined };

/**
 * Knows when to look at which key.
 *
 * Guarantees: a key has one entry at most; `enrol` only ever brings a look forward; `settle` acts
 * on an entry only if its `at` is still the one that was seen, so that whoever it answers `true`
 * owns that look, and a key that was enrolled anew meanwhile keeps its new entry.
 */
export interface DeadlineIndex {
  /** Adds keys, and brings forward the look at those that it knows with a later one. */
  enrol(entries: readonly DeadlineEntry[]): Promise<void>;
  /** The entries whose deadline is before `now`, the oldest first, `limit` at most, and when the next one after them is due. */
  peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }>;
  /** Applies verdicts; for each, whether the entry was still the one that was seen. */
  settle(verdicts: readonly Verdict[]): Promise<boolean[]>;
  /** Takes a key out, whatever its entry; what it was, if there was one. */
  remove(key: Buffer): Promise<number | undefined>;
  /** How many keys it knows. */
  size(): Promise<number>;
}
