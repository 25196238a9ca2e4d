import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import { DueLoop } from '../deadlines/due-loop.js';
import { EntryCursor } from './entry-cursor.js';
import type { RedisIndex } from './redis-index.js';

/** Ms before its deadline at which a key is looked at. */
const LEAD = 100;

/** The leader's term as `Preview` sees it. `LeaderTerm` is one. */
export interface PreviewTerm {
  readonly index: Pick<RedisIndex, 'range' | 'next' | 'readTime'>;
  readonly clock: RedisClock;
  /** Looks at keys that are about to be due: those that are gone were deleted. */
  lookAhead(entries: readonly DeadlineEntry[]): Promise<void>;
  report(error: unknown): void;
}

/**
 * Where a server announces nothing, a key that is gone at its deadline may have expired or been
 * deleted. So each key is looked at a moment before: what is gone then was deleted, and what is
 * there then and gone at its deadline expired, but for a deletion in this very moment.
 *
 * States: paused (at first) ⇄ running.
 */
export class Preview {
  readonly #watch: DueLoop;
  readonly #cursor: EntryCursor;
  #running = false;
  /** Deadlines up to this one were not looked at in time. */
  #missedUntil = Infinity;

  constructor(private readonly term: PreviewTerm) {
    const { index, clock } = term;
    this.#cursor = new EntryCursor(index);
    this.#watch = new DueLoop({
      index: {
        peek: async (now, limit) => {
          const due = await this.#cursor.page(now, limit);
          return { due, next: await index.next(now) };
        },
      },
      clock: {
        get known() {
          return clock.known;
        },
        get age() {
          return clock.age;
        },
        now: () => clock.now() + LEAD,
      },
      readTime: () => index.readTime(clock),
      looker: {
        look: (due) => this.#look(due),
        report: (error) => term.report(error),
      },
    });
  }

  resume(): void {
    if (this.#running) return;
    this.#running = true;
    this.#restart();
    this.#watch.resume();
  }

  /** Redis's clock goes otherwise than it was taken to: by so many ms it is ahead, or behind. */
  retime(ms: number): void {
    // What comes now may be due before what it passed already.
    if (this.#running && ms < 0) this.#restart();
    this.#watch.retime();
  }

  #restart(): void {
    const { clock } = this.term;
    this.#missedUntil = clock.known ? clock.now() + LEAD : Infinity;
    this.#cursor.restart(clock.known ? Math.floor(clock.now()) : undefined);
  }

  pause(): void {
    this.#running = false;
    this.#watch.pause();
  }

  /** There is an entry due at `at`, which may be sooner than what it waits for. Who enrolled it saw it alive. */
  nudge(at: number): void {
    if (this.#running) this.#watch.nudge(at);
  }

  /** A key with a later deadline than this would have been found deleted in time; undefined while that holds for none. */
  get coversAfter(): number | undefined {
    return this.#running && this.#missedUntil < Infinity
      ? this.#missedUntil
      : undefined;
  }

  async #look(entries: readonly DeadlineEntry[]): Promise<void> {
    await this.term.lookAhead(entries);
    this.#cursor.pass(entries);
    const now = this.term.clock.now();
    const late = entries.filter(({ at }) => at < now);
    if (late.length > 0)
      this.#missedUntil = Math.max(this.#missedUntil, late.at(-1)!.at);
  }
}
