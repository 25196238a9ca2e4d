import { RecentKeys } from '../util/recent-keys.js';

/** Ms in which a server may repeat the announcements of the one before it. A scan of a million keys takes about five seconds. */
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
  /** When the expiry of each key was announced last, in ms. */
  readonly #announced: RecentKeys<number>;
  #lostAt: number | undefined;
  /** Announcements from then on until the server was replaced may be repeated. */
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
    this.#announced = new RecentKeys(noticedAfterMs, now);
  }

  /** Listening was lost, or failed once more. */
  lost(): void {
    if (this.#lostAt !== undefined) return;
    this.#lostAt = this.now();
    // What was announced shortly before stays, because nothing is announced, and so nothing ages, until it is replaced.
    this.#announced.age();
  }

  /** Another server announces from here on. */
  replaced(): void {
    const now = this.now();
    this.#from = (this.#lostAt ?? now) - this.noticedAfterMs;
    this.#replacedAt = now;
    // Nothing is forgotten as long as it may be repeated.
    this.#announced.hold(REPEATING_MS);
  }

  listening(): void {
    this.#lostAt = undefined;
  }

  /** The key was created, so its next expiry is a new one. */
  forget(key: Buffer): void {
    this.#announced.delete(key);
  }

  /** An expiry was announced. Returns whether it is a repeat; `isKnown` says that the key was known to live. */
  repeats(key: Buffer, { isKnown }: { readonly isKnown: boolean }): boolean {
    const now = this.now();
    const repeating = now < this.#replacedAt + REPEATING_MS;
    const at = this.#announced.get(key) ?? -Infinity;
    this.#announced.set(key, now);
    return repeating && !isKnown && this.#from <= at && at < this.#replacedAt;
  }
}
