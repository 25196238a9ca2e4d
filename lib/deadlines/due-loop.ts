import { isDenied } from '../connection/server-error.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';

/** Keys that are looked at in one round trip: half a millisecond of the server's time. */
const BATCH_SIZE = 500;
/**
 * The longest sleep while something is due later, and how old the newest reading of Redis's clock may
 * be then: so late a step of that clock is noticed where nothing else tells of it.
 */
const CHECK_INTERVAL_MS = 1_000;
/** The shortest time between two readings that are made on suspicion. */
const SUSPICION_INTERVAL_MS = 500;
/** Ms before it looks again after a look that failed. */
const RETRY_DELAY_MS = 100;
/** The same where the ACL forbids to look: an operator has to mend that. */
const FORBIDDEN_RETRY_DELAY_MS = 10_000;

/** Who looks at keys for a `DueLoop`. */
export interface Looker {
  /** Looks at keys that are due, and settles what it finds. Rejects to be asked again. */
  look(due: readonly DeadlineEntry[]): Promise<void>;
  /** Everything that was due before this moment has been looked at. */
  lookedBefore?(moment: number): void;
  /** A look failed, and is tried again. */
  report(error: unknown): void;
}

/** What a `DueLoop` works on and with. */
export interface DueLoopOptions {
  readonly index: Pick<DeadlineIndex, 'peek'>;
  readonly clock: Pick<RedisClock, 'known' | 'now' | 'age'>;
  /** Sets the clock. */
  readonly readTime: () => Promise<void>;
  readonly looker: Looker;
}

/**
 * Has each key looked at when it is due: it sleeps until the next deadline, peeks into the index, has
 * what is due looked at, and begins again. A `NodeWatch` has one for its node.
 *
 * States:
 * - *paused* (at first, and after `pause`): nothing is looked at, and no timer runs. A look that is
 *   under way goes on to its end. Leaves by `resume`, into *looking*.
 * - *looking* (after `resume`, and when the next deadline is due): peeks and looks, batch after
 *   batch. What a `nudge` tells meanwhile may have been missed by the newest peek, and is kept for
 *   after it. Leaves into *asleep* once nothing is due, and into *resting* when a look fails.
 * - *asleep*: waits for the soonest deadline that the newest peek or a nudge told of, or for a nudge
 *   where there is none.
 * - *resting* (after a failure): looks again after 100 ms, or 10 s where the ACL forbids it, whatever
 *   it is told meanwhile.
 *
 * Guarantees: a key is never looked at before its entry is due, nor while paused; one look at a
 * time; nothing due means no command and no wake-up. A wrong guess of the time costs one look more.
 * While something is due later, Redis's clock is read once a second, unless a look or anything else
 * read it: what a step of that clock makes due is looked at within that second.
 */
export class DueLoop {
  #isRunning = false;
  #isAsleep = false;
  /** The soonest deadline that is known of, by Redis's clock; -Infinity: it looks next time whatever is due. */
  #nextAt = Infinity;
  #settledBefore: number | undefined;
  /** A reading of the clock is under way. */
  #isReadingTime = false;
  readonly #timer = new SoonestTimer(() => this.#wake());

  constructor(private readonly options: DueLoopOptions) {}

  /** Before this moment, by Redis's clock, every deadline that was known has been settled; undefined if none was yet. */
  get settledBefore(): number | undefined {
    // Asleep, nothing is due before it wakes.
    const settled = this.#isAsleep ? this.#nextAt : this.#settledBefore;
    // Redis's clock may have been set back: what comes now is not settled, though it came before.
    return settled && Math.min(Math.floor(this.options.clock.now()), settled);
  }

  /** It looked, and nothing that it knows of is due at any time. */
  get isIdle(): boolean {
    return this.#isAsleep && this.#nextAt === Infinity;
  }

  resume(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#lookIn(0);
  }

  pause(): void {
    this.#isRunning = false;
    this.#isAsleep = false;
    this.#nextAt = Infinity;
    this.#timer.cancel();
  }

  /** There is an entry due at `at`, which may be sooner than what it waits for. */
  nudge(at: number): void {
    if (at >= this.#nextAt) return;
    this.#nextAt = at;
    if (this.#isAsleep) this.#sleep();
  }

  /** Redis's clock goes otherwise than it was taken to: what it waits for may be due by now, or later. */
  retime(): void {
    if (!this.#isAsleep) return;
    this.#timer.cancel();
    this.#sleep();
  }

  /** Something speaks for a step of Redis's clock: reads it, unless that was done a moment ago. */
  suspectStep(): void {
    this.#readTimeIfOlder(SUSPICION_INTERVAL_MS);
  }

  /** Looks in so many ms at whatever is due, and until then at nothing. */
  #lookIn(ms: number): void {
    this.#isAsleep = false;
    this.#nextAt = -Infinity;
    this.#timer.cancel();
    this.#timer.within(ms);
  }

  async #wake(): Promise<void> {
    if (!this.#isRunning) return;
    if (this.#isAsleep && this.#untilNext() > 0) {
      this.#readTimeIfOlder(CHECK_INTERVAL_MS);
      this.#sleep();
    } else await this.#lookWhileDue();
  }

  async #lookWhileDue(): Promise<void> {
    this.#isAsleep = false;
    try {
      let next: number | 'more' = 'more';
      while (this.#isRunning && next === 'more') {
        this.#nextAt = Infinity;
        next = await this.#lookOnce();
      }
      if (!this.#isRunning || next === 'more') return;
      this.nudge(next);
      // Paused and resumed meanwhile, it looks once more anyhow.
      this.#isAsleep = this.#nextAt > -Infinity;
      if (this.#isAsleep) this.#sleep();
    } catch (error) {
      this.options.looker.report(error);
      if (this.#isRunning)
        this.#lookIn(
          isDenied(error) ? FORBIDDEN_RETRY_DELAY_MS : RETRY_DELAY_MS,
        );
    }
  }

  /** Looks at one batch. Returns whether there may be more, or else when the next key is due. */
  async #lookOnce(): Promise<'more' | number> {
    const { index, clock, readTime, looker } = this.options;
    if (!clock.known) await readTime();
    const now = Math.floor(clock.now());
    const { due, next } = await index.peek(now, BATCH_SIZE);
    if (!this.#isRunning) return 'more';
    this.#settledBefore = due[0]?.at ?? now;
    if (due.length === 0) {
      looker.lookedBefore?.(now);
      return next ?? Infinity;
    }
    await looker.look(due);
    return 'more';
  }

  /** Wakes when the next key is due, and to check the clock. */
  #sleep(): void {
    if (this.#nextAt < Infinity)
      this.#timer.within(Math.min(this.#untilNext(), CHECK_INTERVAL_MS));
  }

  /** Ms until the next key can be looked at: it is alive in the millisecond of its deadline, gone in the next. */
  #untilNext(): number {
    return this.#nextAt + 1 - this.options.clock.now();
  }

  /** Reads Redis's clock if the newest reading is so many ms old. Nothing waits for it: what it finds comes by `retime`. */
  #readTimeIfOlder(ms: number): void {
    if (this.#isReadingTime || this.options.clock.age < ms) return;
    this.#isReadingTime = true;
    this.options
      .readTime()
      .catch(() => undefined)
      .finally(() => (this.#isReadingTime = false));
  }
}
