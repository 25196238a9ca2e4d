import type { ScanReport } from '../listening/deadline-keeper.js';

/** With fewer keys than these, hearing of their renewals costs nothing worth saving. */
const FEWEST_KEYS = 1_000;
/** The share of a database's keys with a deadline from which on renewals are left out. */
const DOMINATING_SHARE = 2 / 3;
/** The share below which they are heard again. */
const ORDINARY_SHARE = 1 / 2;

/**
 * Decides for one node whether a group hears of each key that is given a new deadline.
 *
 * It need not, as a lower bound of a deadline is enough. But only keyevent channels can leave those
 * events out, and they bring the other events of every key of the database: that is worth it where
 * most of the keys that expire are the group's own. `DeadlineDiscovery` tells it what each scan saw.
 *
 * States:
 * - *wanted* (at first): renewals are heard. Leaves when a scan finds at least 1,000 keys of the group,
 *   and those are two thirds or more of all keys that have a deadline.
 * - *not wanted*: leaves when a scan finds that they are less than half, or fewer than 1,000.
 *
 * Guarantees: it changes at most once for each scan; shares between a half and two thirds change nothing.
 */
export class RenewalChoice {
  #areWanted = true;

  get areWanted(): boolean {
    return this.#areWanted;
  }

  /** Takes note of a scan of all patterns. One by which nothing was counted changes nothing. */
  take({ keys, volatile }: ScanReport): void {
    if (volatile === undefined) return;
    const limit = this.#areWanted ? DOMINATING_SHARE : ORDINARY_SHARE;
    this.#areWanted = keys < FEWEST_KEYS || keys < volatile * limit;
  }
}
