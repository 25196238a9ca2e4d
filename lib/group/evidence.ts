import { RecentKeys } from '../util/recent-keys.js';

/** Ms for which an announcement that a look caused is waited for. */
const ANNOUNCEMENT_MS = 10_000;

/** A key as `Evidence` names it. */
export const toText = (key: Buffer): string => key.toString('latin1');

/**
 * What is known of expiries of one node's keys that are not settled yet. Keys are told in latin1.
 *
 * Guarantees: an announcement counts once, and one that a look of this instance caused does not
 * count beside the look.
 */
export class Evidence {
  /** How often each key's expiry was announced, as far as that is not settled yet. */
  readonly #announced = new Map<string, number>();
  /** Keys that a look removed and whose announcement is still to come, with when that was. */
  readonly #expected = new RecentKeys<number>(ANNOUNCEMENT_MS);
  #generation = 0;

  /** Changes whenever everything is forgotten: a look from before is worth nothing. */
  get generation(): number {
    return this.#generation;
  }

  /** Nothing more is heard: announcements that were expected will not come. */
  forget(): void {
    this.#announced.clear();
    this.#expected.clear();
    this.#generation++;
  }

  /** Redis announced an expiry. Whether it says something new. */
  announce(text: string): boolean {
    if (this.expects(text)) return false;
    this.#announced.set(text, this.announced(text) + 1);
    return true;
  }

  /** How often an expiry was announced that is not settled. */
  announced(text: string): number {
    return this.#announced.get(text) ?? 0;
  }

  /** Whether a look caused an announcement of the key that was still to come; it came now. */
  expects(text: string): boolean {
    const since = this.#expected.take(text);
    // What did not come in time never will: this is another expiry.
    return since !== undefined && performance.now() - since < ANNOUNCEMENT_MS;
  }

  /** Whether it is known to have expired. */
  isProven(text: string): boolean {
    return this.#announced.has(text);
  }

  /** A look caused an announcement that is still to come. */
  expect(text: string): void {
    this.#expected.set(text, performance.now());
  }

  /** Settled, with so many announcements taken into account. Whether that was all that was announced. */
  settle(text: string, announced: number): boolean {
    if (announced === 0) return false;
    const left = this.announced(text) - announced;
    if (left > 0) this.#announced.set(text, left);
    else this.#announced.delete(text);
    return left <= 0;
  }
}
