import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { DueLoop } from '../deadlines/due-loop.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import { EntryCursor } from './entry-cursor.js';
import type { RedisIndex } from './redis-index.js';

/** The leader's term in which keys are looked at ahead. `LeaderTerm` is one. */
export interface AheadTerm {
  readonly index: Pick<RedisIndex, 'range' | 'next' | 'readTime'>;
  readonly clock: RedisClock;
  report(error: unknown): void;
}

/**
 * Gives out the entries of a group's index so many ms before they are due, each once, in their order. `Preview` and
 * `ValueLooks` have one each.
 *
 * States: paused (at first) ⇄ running.
 */
export class LookAhead {
  readonly #loop: DueLoop;
  readonly #cursor: EntryCursor;
  #isRunning = false;
  /** Entries from there on are to be given out once more. */
  #backTo = Infinity;

  /** @param look is given entries, in batches; rejects to be given them again */
  constructor(
    private readonly term: AheadTerm,
    lead: number,
    look: (entries: readonly DeadlineEntry[]) => Promise<void>,
  ) {
    const { index, clock } = term;
    this.#cursor = new EntryCursor(index);
    this.#loop = new DueLoop({
      index: { peek: (now, limit) => this.#peek(now, limit) },
      clock: {
        get known() {
          return clock.known;
        },
        get age() {
          return clock.age;
        },
        now: () => clock.now() + lead,
      },
      readTime: () => index.readTime(clock),
      looker: {
        look: async (entries) => {
          await look(entries);
          this.#cursor.pass(entries);
        },
        report: (error) => term.report(error),
      },
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Gives out, from now on, what is due later than now. */
  resume(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.restart();
    this.#loop.resume();
  }

  pause(): void {
    this.#isRunning = false;
    this.#loop.pause();
  }

  /** Begins anew with what is due later than now. */
  restart(): void {
    const { clock } = this.term;
    this.#backTo = Infinity;
    this.#cursor.restart(clock.known ? Math.floor(clock.now()) : undefined);
  }

  /** Redis's clock goes otherwise than it was taken to: by so many ms it is ahead, or behind. */
  retime(ms: number): void {
    // What comes now may be due before what it passed already.
    if (this.#isRunning && ms < 0) this.restart();
    this.#loop.retime();
  }

  /** There is an entry due at `at`, which may be sooner than what it waits for. */
  nudge(at: number): void {
    if (this.#isRunning) this.#loop.nudge(at);
  }

  /** As `nudge`, for an entry that it may have passed: gives out again what is due from then on. */
  goBack(at: number): void {
    if (!this.#isRunning) return;
    this.#backTo = Math.min(this.#backTo, at);
    this.#loop.nudge(at);
  }

  async #peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    if (this.#backTo < this.#cursor.from) this.#cursor.restart(this.#backTo);
    this.#backTo = Infinity;
    const [due, next] = await Promise.all([
      this.#cursor.page(now, limit),
      this.term.index.next(now),
    ]);
    return { due, next };
  }
}
