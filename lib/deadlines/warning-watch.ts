import { SoonestTimer } from '../util/soonest-timer.js';
import type { DeadlineEntry } from './deadline-index.js';
import { DueLoop } from './due-loop.js';
import type { RedisClock } from './redis-clock.js';
import type { WarningBook } from './warning-book.js';

/** A look for renewals comes after this share of `before`, where nothing tells of them. */
const RECHECKS = 10;
/** The shortest time between two looks for renewals. */
const LEAST_RECHECK_MS = 20;
/** Ms before a look for renewals is made again that failed. */
const RETRY_DELAY_MS = 100;

/** The node whose keys are warned of, as `WarningWatch` sees it. */
export interface WarnedNode {
  readonly clock: RedisClock;
  /** Sets the clock. */
  readTime(): Promise<void>;
  /** Logs why looking at keys failed. */
  report(error: unknown): void;
}

/**
 * Warns of keys of one node, for one `before`: has each key looked at when its time left may have fallen to that, and looks for
 * renewals ten times while a key is within it. `Warnings` makes one for each `before`.
 *
 * States: paused (at first) ⇄ running. Paused, nothing is looked at: to look at a key that has run out while nobody
 * listens would destroy evidence.
 *
 * Guarantees: warnings that are due come before looks for renewals, which are made one after the other. Without keys there are no looks and no
 * timer.
 */
export class WarningWatch {
  readonly #loop: DueLoop;
  readonly #rechecks = new SoonestTimer(() => this.#recheck());
  #isRunning = false;
  /** Changes with every pause. */
  #span = 0;
  /** What was due before then, by Redis's clock, was missed. */
  #since = 0;
  /** When the newest look for renewals began. */
  #seen = -Infinity;
  /** Some key may be within, or be found to be ahead by the next look for renewals. */
  #mayBeWithin = true;
  #isRechecking = false;

  constructor(
    private readonly before: number,
    private readonly book: WarningBook,
    private readonly node: WarnedNode,
  ) {
    this.#loop = new DueLoop({
      index: book,
      clock: node.clock,
      readTime: () => node.readTime(),
      looker: {
        look: (due) => this.#look(due),
        report: (error) => node.report(error),
      },
    });
  }

  /** It knows of no key. */
  get isIdle(): boolean {
    return this.#loop.isIdle && !this.#mayBeWithin && !this.#isRechecking;
  }

  async learn(entries: readonly DeadlineEntry[]): Promise<void> {
    const soonest = await this.book.learn(entries);
    if (soonest !== undefined) this.#loop.nudge(soonest);
  }

  /** Something may be due then, by Redis's clock, that it does not know of. */
  nudge(at: number): void {
    this.#loop.nudge(at);
  }

  /** The clock is known. */
  resume(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#since = Math.floor(this.node.clock.now());
    // What was renewed meanwhile may have had any time left.
    this.#seen = -Infinity;
    this.#mayBeWithin = true;
    this.#loop.resume();
    this.#rechecks.within(0);
  }

  /** For good: nobody asks for it any more, and it is idle. */
  end(): void {
    this.pause();
    this.book.close?.();
  }

  pause(): void {
    this.#isRunning = false;
    this.#span++;
    this.#loop.pause();
    this.#rechecks.cancel();
  }

  /** Redis's clock goes otherwise than it was taken to. */
  retime(): void {
    this.#loop.retime();
  }

  async #look(due: readonly DeadlineEntry[]): Promise<void> {
    const { isWithin } = await this.book.look(due, this.#since);
    if (!isWithin) return;
    this.#mayBeWithin = true;
    if (this.#isRunning) this.#rechecks.within(this.#interval);
  }

  get #interval(): number {
    return Math.max(LEAST_RECHECK_MS, this.before / RECHECKS);
  }

  async #recheck(): Promise<void> {
    if (!this.#isRunning) return;
    const began = Math.floor(this.node.clock.now());
    const span = this.#span;
    this.#mayBeWithin = false;
    this.#isRechecking = true;
    const goesOn = (): boolean => span === this.#span;
    try {
      const { soonest, isWithin } = await this.book.recheck(this.#seen, goesOn);
      // Resumed meanwhile, it has another one to make.
      if (!goesOn()) return;
      this.#seen = began;
      if (soonest !== undefined) this.#loop.nudge(soonest);
      if (!isWithin) return;
      this.#mayBeWithin = true;
      this.#rechecks.within(this.#interval);
    } catch (error) {
      this.#mayBeWithin = true;
      if (!goesOn()) return;
      this.node.report(error);
      this.#rechecks.within(RETRY_DELAY_MS);
    } finally {
      this.#isRechecking = false;
    }
  }
}
