import type { Verdict } from '../deadlines/deadline-index.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import { type Evidence, toText } from './evidence.js';
import type { GapBook } from './gap-book.js';

/** A key to look at, and the score it was found with; undefined if it is not in the index. */
export interface Suspect {
  readonly key: Buffer;
  readonly seen: number | undefined;
}

/** What was found of a suspect: its time to live, and how often it had been announced before. */
export interface Look {
  readonly suspect: Suspect;
  readonly ttl: number;
  readonly before: number;
}

export interface VerdictsOptions {
  readonly evidence: Evidence;
  readonly gaps: GapBook;
  readonly counters: ExpiryCounters;
  /** Whether the server announces nothing, as far as can be known. */
  readonly isSilent: () => boolean;
  /** Where it is silent: whether a deletion of a key with this deadline would have been found out before. */
  readonly previewed: (at: number) => boolean;
  /** Whether anybody still asks for the key. */
  readonly wanted: (key: Buffer) => boolean;
}

/**
 * What a look at a key proves. A key that is gone counts as expired on one of three proofs only: this
 * very look removed it, Redis announced it, or nobody listened at its deadline.
 *
 * | the look finds      | announced, or removed by a look | its score in a gap  | neither             |
 * | ------------------- | ------------------------------ | ------------------- | ------------------- |
 * | alive               | superseded, look again later   | look again later    | look again later    |
 * | gone, score is due  | expired                        | expired (recovery)  | deleted             |
 * | gone, score ahead   | expired, deadline unknown      | deleted             | deleted             |
 * | gone, no score      | expired, deadline unknown      | nothing             | nothing             |
 */
export class Verdicts {
  constructor(private readonly options: VerdictsOptions) {}

  /** Gone, and nothing tells why yet: its announcement may still be under way, by the other connection. */
  isOpen({ key, seen }: Suspect, ttl: number): boolean {
    const missing = ttl === -2 && seen !== undefined;
    return (missing || ttl === -4) && !this.#isProven(key);
  }

  /** `now`: when it was looked at, in epoch ms by Redis's clock. */
  on({ suspect, ttl, before }: Look, now: number): Verdict {
    const { key, seen } = suspect;
    if (ttl >= -1) {
      // It lapsed and was written again before anybody could look.
      if (before > 0 || this.options.evidence.wasRemoved(toText(key))) {
        this.options.counters.received++;
        this.options.counters.superseded++;
      }
      const lives = ttl >= 0 && this.options.wanted(key);
      return { key, seen, at: lives ? now + ttl : undefined };
    }
    const gone = { key, seen, at: undefined };
    const due = seen !== undefined && seen <= now;
    const inGap = due && this.options.gaps.covers(seen);
    if (!inGap && !this.#isProven(key)) return gone;
    return {
      ...gone,
      fire: {
        source: inGap && !this.#isTimely(seen) ? 'recovery' : 'notification',
        // Gone before the index expected it: another client shortened it, or it was not known.
        deadline: due ? seen : undefined,
      },
    };
  }

  /** Though nobody listened, it was looked after: it was there a moment before its deadline. */
  #isTimely(seen: number): boolean {
    const { isSilent, previewed } = this.options;
    return isSilent() && previewed(seen);
  }

  #isProven(key: Buffer): boolean {
    return this.options.evidence.isProven(toText(key));
  }
}

/** A key that lives no shorter than is known needs no new score before it is due. */
export const isNews = (verdict: Verdict, now: number): boolean => {
  const { seen, at, fire } = verdict;
  if (fire) return true;
  if (seen === undefined || at === undefined) return seen !== at;
  return at < seen || seen <= now;
};
