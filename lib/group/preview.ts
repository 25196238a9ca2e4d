import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { type AheadTerm, LookAhead } from './look-ahead.js';

/** Ms before its deadline at which a key is looked at. */
const LEAD = 100;

/** The leader's term as `Preview` sees it. `LeaderTerm` is one. */
export interface PreviewTerm extends AheadTerm {
  /** Looks at keys that are about to be due: those that are gone were deleted. */
  lookAhead(entries: readonly DeadlineEntry[]): Promise<void>;
}

/**
 * Where a server announces nothing, a key that is gone at its deadline may have expired or been
 * deleted. So each key is looked at a moment before: what is gone then was deleted, and what is
 * there then and gone at its deadline expired, but for a deletion in this very moment.
 *
 * States: paused (at first) ⇄ running.
 */
export class Preview {
  readonly #ahead: LookAhead;
  /** Deadlines up to this one were not looked at in time. */
  #missedUntil = Infinity;

  constructor(private readonly term: PreviewTerm) {
    this.#ahead = new LookAhead(term, LEAD, (due) => this.#look(due));
  }

  resume(): void {
    if (this.#ahead.isRunning) return;
    this.#miss();
    this.#ahead.resume();
  }

  /** As of `LookAhead`. */
  retime(ms: number): void {
    if (this.#ahead.isRunning && ms < 0) this.#miss();
    this.#ahead.retime(ms);
  }

  pause(): void {
    this.#ahead.pause();
  }

  /** There is an entry due at `at`, which may be sooner than what it waits for. Who enrolled it saw it alive. */
  nudge(at: number): void {
    this.#ahead.nudge(at);
  }

  /** A key with a later deadline than this would have been found deleted in time; undefined while that holds for none. */
  get coversAfter(): number | undefined {
    return this.#ahead.isRunning && this.#missedUntil < Infinity
      ? this.#missedUntil
      : undefined;
  }

  #miss(): void {
    const { clock } = this.term;
    this.#missedUntil = clock.known ? clock.now() + LEAD : Infinity;
  }

  async #look(entries: readonly DeadlineEntry[]): Promise<void> {
    await this.term.lookAhead(entries);
    const now = this.term.clock.now();
    const late = entries.filter(({ at }) => at < now);
    if (late.length > 0)
      this.#missedUntil = Math.max(this.#missedUntil, late.at(-1)!.at);
  }
}
