import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import { DueLoop } from '../deadlines/due-loop.js';
import { EntryCursor } from './entry-cursor.js';
import type { RedisIndex } from './redis-index.js';

/** Ms before its deadline at which a key is looked at. */
const LEAD = 100;

export interface PreviewOptions {
  readonly index: Pick<RedisIndex, 'range' | 'next'>;
  readonly clock: RedisClock;
  readonly readTime: () => Promise<void>;
  /** Looks at keys that are about to be due: those that are gone were deleted. */
  readonly look: (entries: readonly DeadlineEntry[]) => Promise<void>;
  readonly onError: (error: unknown) => void;
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

  constructor(private readonly options: PreviewOptions) {
    const { index, clock } = options;
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
      readTime: options.readTime,
      look: (due) => this.#look(due),
      onError: options.onError,
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
    const { clock } = this.options;
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

  /** Whether a key with this deadline would have been found deleted in time. */
  covers(at: number): boolean {
    return this.#running && at > this.#missedUntil;
  }

  async #look(entries: readonly DeadlineEntry[]): Promise<void> {
    await this.options.look(entries);
    this.#cursor.pass(entries);
    const now = this.options.clock.now();
    const late = entries.filter(({ at }) => at < now);
    if (late.length > 0)
      this.#missedUntil = Math.max(this.#missedUntil, late.at(-1)!.at);
  }
}
