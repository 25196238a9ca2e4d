import { isDenied } from '../connection/server-error.js';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';

/** Keys that are looked at in one round trip: half a millisecond of the server's time. */
const BATCH = 500;
/**
 * The longest sleep while something is due later, and how old the newest reading of Redis's clock may
 * be then: so late a step of that clock is noticed where nothing else tells of it.
 */
const CHECK_MS = 1_000;
/** The shortest time between two readings that are made on suspicion. */
const SUSPICION_MS = 500;
/** Ms before it looks again after a look that failed. */
const AGAIN = 100;
/** The same where the ACL forbids to look: an operator has to mend that. */
const FORBIDDEN = 10_000;

export interface WatchOptions {
  readonly index: Pick<DeadlineIndex, 'peek'>;
  readonly clock: Pick<RedisClock, 'known' | 'now' | 'age'>;
  /** Sets the clock. */
  readonly readTime: () => Promise<void>;
  /** Looks at keys that are due, and settles what it finds. */
  readonly look: (due: readonly DeadlineEntry[]) => Promise<void>;
  /** Everything that was due before this moment has been looked at. */
  readonly onIdle?: (before: number) => void;
  /** A look failed, and is tried again. */
  readonly onError: (error: unknown) => void;
}

/**
 * Has each key looked at when it is due: sleeps until the next deadline, peeks, looks, and again.
 *
 * States: paused (at first) ⇄ running. Paused, it looks at nothing.
 *
 * Guarantees: a key is never looked at before its entry is due, nor while paused; one look at a
 * time; nothing due means no command and no wake-up. A wrong guess of the time costs one look more.
 * While something is due later, Redis's clock is read once a second, unless a look or anything else
 * read it: what a step of that clock makes due is looked at within that second.
 */
export class DueLoop {
  #running = false;
  #looking = false;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer goes off, by Redis's clock. */
  #wakeAt = Infinity;
  /** The soonest nudge that came during a look, which may have missed its entry. */
  #nudged = Infinity;
  #settledBefore: number | undefined;
  /** The newest look found nothing more that was due. */
  #idle = false;
  /** A reading of the clock is under way. */
  #checking = false;

  constructor(private readonly options: WatchOptions) {}

  /** Before this moment, by Redis's clock, every deadline that was known has been settled; undefined if none was yet. */
  get settledBefore(): number | undefined {
    // Asleep, nothing is due before it wakes.
    const asleep = this.#running && !this.#looking && this.#idle;
    const settled = asleep ? this.#wakeAt : this.#settledBefore;
    // Redis's clock may have been set back: what comes now is not settled, though it came before.
    return settled && Math.min(Math.floor(this.options.clock.now()), settled);
  }

  resume(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#lookWhileDue();
  }

  pause(): void {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#wakeAt = Infinity;
  }

  /** There is an entry due at `at`, which may be sooner than what it waits for. */
  nudge(at: number): void {
    if (this.#looking) this.#nudged = Math.min(this.#nudged, at);
    else if (this.#running && at < this.#wakeAt) this.#sleepUntil(at);
  }

  /** Redis's clock goes otherwise than it was taken to: what it waits for may be due by now. */
  retime(): void {
    if (this.#running && !this.#looking && Number.isFinite(this.#wakeAt))
      this.#sleepUntil(this.#wakeAt);
  }

  /** Something speaks for a step of Redis's clock: reads it, unless that was done a moment ago. */
  suspectStep(): void {
    this.#checkClock(SUSPICION_MS);
  }

  async #lookWhileDue(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    this.#idle = false;
    clearTimeout(this.#timer);
    this.#wakeAt = Infinity;
    try {
      let next: number | 'more' = 'more';
      while (this.#running && next === 'more') {
        this.#nudged = Infinity;
        next = await this.#lookOnce();
      }
      if (this.#running && next !== 'more') {
        this.#idle = true;
        this.#sleepUntil(Math.min(next, this.#nudged));
      }
    } catch (error) {
      this.options.onError(error);
      if (this.#running) {
        this.#sleep(isDenied(error) ? FORBIDDEN : AGAIN);
        // No nudge may put the next try off.
        this.#wakeAt = -Infinity;
      }
    } finally {
      this.#looking = false;
    }
  }

  /** Looks at one batch. Returns whether there may be more, or else when the next key is due. */
  async #lookOnce(): Promise<'more' | number> {
    const { index, clock, readTime, look, onIdle } = this.options;
    if (!clock.known) await readTime();
    const now = Math.floor(clock.now());
    const { due, next } = await index.peek(now, BATCH);
    if (!this.#running) return 'more';
    this.#settledBefore = due[0]?.at ?? now;
    if (due.length === 0) {
      onIdle?.(now);
      return next ?? Infinity;
    }
    await look(due);
    return 'more';
  }

  #sleepUntil(at: number): void {
    if (at === Infinity) return;
    this.#wakeAt = at;
    clearTimeout(this.#timer);
    const ms = Math.max(0, this.#until(at));
    this.#timer = setTimeout(() => this.#wake(at), Math.min(ms, CHECK_MS));
  }

  #wake(at: number): void {
    if (this.#until(at) <= 0) {
      void this.#lookWhileDue();
      return;
    }
    this.#checkClock(CHECK_MS);
    this.#sleepUntil(at);
  }

  /** Ms until what is due at `at` can be looked at: a key is alive in the millisecond of its deadline, gone in the next. */
  #until(at: number): number {
    return at + 1 - this.options.clock.now();
  }

  /** Reads Redis's clock if the newest reading is so many ms old. Nothing waits for it: what it finds comes by `retime`. */
  #checkClock(age: number): void {
    if (this.#checking || this.options.clock.age < age) return;
    this.#checking = true;
    this.options
      .readTime()
      .catch(() => undefined)
      .finally(() => (this.#checking = false));
  }

  #sleep(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#lookWhileDue(), ms);
  }
}
