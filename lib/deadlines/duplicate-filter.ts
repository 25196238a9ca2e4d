import { RecentKeys } from '../util/recent-keys.js';

/** Ms in which a server may repeat what the one before it told. A scan of a million keys takes about five seconds. */
const REPEATING_MS = 10_000;

/**
 * Suppresses duplicate expiries of one node, where another server may stand in its place before that is
 * noticed: then both hold a key as primaries when it is due, and the new one announces its expiry,
 * too, when it comes to it. `AnnouncementJudge` asks it about every announcement.
 *
 * A repeat is the expiry of a key that the server before announced shortly before its connection was
 * lost, that is not known to live and was not created since. One false repeat is possible: a key that
 * was created on the new server before that one was listened to, and that ran out before a scan came to it.
 *
 * States:
 * - *usual* (at first): every announcement is remembered for as long as a replacement may go
 *   unnoticed, and none is a repeat.
 * - *lost* (from `lost` to `listening`): nothing is announced; when it was lost is remembered.
 * - *repeating* (for 10 s after `replaced`): what was announced from a moment before the loss on is not
 *   forgotten, and is a repeat if it is announced again.
 */
export class DuplicateFilter {
  /** When each key was told, in ms. */
  readonly #told: RecentKeys<number>;
  #lostAt: number | undefined;
  /** What was told from then on until the server was replaced may be repeated. */
  #from = Infinity;
  #replacedAt = -Infinity;

  /**
   * @param noticedAfterMs for how long another server may have stood there unnoticed
   * @param now a clock in ms that never goes back
   */
  constructor(
    private readonly noticedAfterMs: number,
    private readonly now = (): number => performance.now(),
  ) {
    this.#told = new RecentKeys(noticedAfterMs, now);
  }

  /** Listening was lost, or failed once more. */
  lost(): void {
    if (this.#lostAt !== undefined) return;
    this.#lostAt = this.now();
    // What was told shortly before stays: nothing is told, and so nothing ages, until it is replaced.
    this.#told.age();
  }

  /** What is told from here on, another server tells. */
  replaced(): void {
    const now = this.now();
    this.#from = (this.#lostAt ?? now) - this.noticedAfterMs;
    this.#replacedAt = now;
    // Nothing is forgotten as long as it may be repeated.
    this.#told.hold(REPEATING_MS);
  }

  listening(): void {
    this.#lostAt = undefined;
  }

  /** The key was created: its next expiry is none that was told. */
  forget(key: Buffer): void {
    this.#told.delete(key);
  }

  /** An expiry was heard: whether it is a repeat. `isKnown`: the key was known to live. */
  repeats(key: Buffer, isKnown: boolean): boolean {
    const now = this.now();
    const repeating = now < this.#replacedAt + REPEATING_MS;
    const at = this.#told.get(key) ?? -Infinity;
    this.#told.set(key, now);
    return repeating && !isKnown && this.#from <= at && at < this.#replacedAt;
  }
}
