import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';

/** What looking at keys brought about. */
export interface Looked {
  /** When the soonest key is to be looked at that turned out to have more time left; undefined if there is none. */
  readonly soonest: number | undefined;
  /** Whether some key is within its last `before` ms, and is to be looked at again for renewals. */
  readonly isWithin: boolean;
}

/**
 * Knows which keys are to be warned of, for one `before`, and which were. Broadcast's is `MemoryWarnings`, a group's is
 * `StoredWarnings`.
 *
 * A key is in one of three states:
 * - *ahead*: it had more than `before` left when it was seen last. It is to be looked at no earlier than
 *   `before` ms ahead of the deadline that it had then: a renewal only makes that later.
 * - *within*: it was warned of, and by which deadline. Leaves when it is gone; or into *ahead* when it turns out to have been
 *   renewed to more than `before`, or, as far as can be known, to have been in between.
 * - *unknown*: neither. A key with no more than `before` left when it is learnt stays unknown: whether it ever had more, nobody
 *   knows.
 *
 * Guarantees: a key is warned of once for each deadline, and only from *ahead*. A key is found renewed at a look, or
 * when its new deadline is learnt, whichever comes first.
 */
export interface WarningBook extends Pick<DeadlineIndex, 'peek'> {
  /** Deadlines were learnt. Resolves with when the soonest of these keys is to be looked at; undefined if none is. */
  learn(entries: readonly DeadlineEntry[]): Promise<number | undefined>;
  /**
   * Looks at keys that are due, and warns of those whose time left has fallen to `before`. `since`: what should have been warned
   * of before then, by Redis's clock, was missed by whoever watched. Rejects to be asked again.
   */
  look(due: readonly DeadlineEntry[], since: number): Promise<Looked>;
  /**
   * Looks for renewals among the keys that are within.
   *
   * @param seen when the look before began, by Redis's clock; -Infinity if there was none: whatever is
   *   renewed by now may have had more than `before` left in between
   * @param goesOn is asked before each step: where listening was lost, no key may be looked at any more
   */
  recheck(seen: number, goesOn: () => boolean): Promise<Looked>;
  /** It is not used any more. */
  close?(): void;
}
