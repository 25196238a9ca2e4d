import type { DeadlineIndex, Verdict } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';
import type { TtlReader } from './ttl-reader.js';

/** Keys that are looked at in one round trip: half a millisecond of the server's time. */
const BATCH = 500;
/** The longest sleep: Node's timers overflow beyond 2^31 ms. */
const LONGEST_SLEEP = 2 ** 30;
/** Ms before it looks again after a look that failed. */
const AGAIN = 100;

export interface WatchOptions {
  readonly index: DeadlineIndex;
  readonly reader: Pick<TtlReader, 'read' | 'readTime'>;
  readonly clock: RedisClock;
  /** Whether anybody still asks for the key. */
  readonly wanted: (key: Buffer) => boolean;
  /** A key was found gone at its deadline. */
  readonly onGone: (key: Buffer, deadline: number) => void;
  /** A look failed, and is tried again. */
  readonly onError: (error: unknown) => void;
}

/**
 * Looks at each key when it is due, which is the touch that makes Redis expire it: sleeps until the
 * next deadline, reads the times to live of what is due, and settles: alive, look again then; gone
 * or without a deadline, done.
 *
 * States: paused (at first) ⇄ running → closed. Paused, it touches nothing.
 *
 * Guarantees: a key is never touched before its deadline's entry is due, nor while paused; nothing
 * due means no command and no wake-up. A wrong guess of the time costs one look more: Redis judges.
 */
export class Watch {
  #running = false;
  #looking = false;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer goes off, by Redis's clock. */
  #wakeAt = Infinity;
  /** The soonest nudge that came during a look, which may have missed its entry. */
  #nudged = Infinity;

  constructor(private readonly options: WatchOptions) {}

  resume(): void {
    this.#running = true;
    void this.#look();
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

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    clearTimeout(this.#timer);
    this.#wakeAt = Infinity;
    try {
      while (this.#running) {
        this.#nudged = Infinity;
        const next = await this.#lookAtDue();
        if (next === 'more') continue;
        const wakeAt = Math.min(next, this.#nudged);
        if (wakeAt < Infinity && this.#running) this.#sleepUntil(wakeAt);
        break;
      }
    } catch (error) {
      this.options.onError(error);
      if (this.#running) this.#sleep(AGAIN);
    } finally {
      this.#looking = false;
    }
  }

  /** Looks at one batch. Returns whether there may be more, or else when the next key is due. */
  async #lookAtDue(): Promise<'more' | number> {
    const { index, reader, clock, wanted, onGone } = this.options;
    if (!clock.known) await reader.readTime();
    const { due, next } = await index.peek(Math.floor(clock.now()), BATCH);
    if (due.length === 0) return next ?? Infinity;
    const { now, ttls } = await reader.read(due.map(({ key }) => key));
    const verdicts = due.map(({ key, at }, i): Verdict => {
      const ttl = ttls[i]!;
      const lives = ttl >= 0 && wanted(key);
      return { key, seen: at, at: lives ? now + ttl : undefined };
    });
    const settled = await index.settle(verdicts);
    due.forEach(({ key, at }, i) => {
      if (settled[i] && ttls[i] === -2) onGone(key, at);
    });
    return 'more';
  }

  #sleepUntil(at: number): void {
    const { clock } = this.options;
    // A key is alive in the millisecond of its deadline, gone in the next.
    this.#sleep(at + 1 - clock.now());
    this.#wakeAt = at;
  }

  #sleep(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => void this.#look(),
      Math.min(Math.max(0, ms), LONGEST_SLEEP),
    );
  }
}
