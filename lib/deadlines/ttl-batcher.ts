import { Fifo } from '../util/fifo.js';
import { isDenied } from '../connection/server-error.js';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';
import type { TtlReader } from './ttl-reader.js';

/** Keys whose time to live is read in one round trip. */
const BATCH = 500;
/** Ms after which a new key without a deadline is looked at again: HSET, then EXPIRE. */
const SECOND_LOOKS = [10, 100, 1_000, 10_000];
/** Keys that may wait for a look. */
const MOST_WAITING = 200_000;
/** Ms before keys are looked at again where a look failed. */
const AGAIN = 100;
/** `expire` events whose key is read anew, in a second. */
const MOST_RENEWALS = 2_000;

export interface EnrolmentOptions {
  readonly index: Pick<DeadlineIndex, 'enrol'>;
  readonly reader: Pick<TtlReader, 'read'>;
  /** Keys were enrolled; the soonest of their deadlines. */
  readonly onEnrolled: (soonest: number) => void;
  /** Too much came at once to look at each key: a scan has to find what was left out. */
  readonly onOverflow: () => void;
  /** A look failed. It is made again, unless the ACL forbids it: then the keys are left out. */
  readonly onError: (error: unknown) => void;
}

/**
 * Learns deadlines from what Redis announces: reads the time to live of keys that were created or
 * given one, in batches, and enrols them.
 *
 * States: paused (at first) ⇄ running. Paused, hints are ignored: a scan follows every pause.
 *
 * Guarantees: a hint is O(1); what waits is bounded, and what is left out is made up for by a scan.
 */
export class TtlBatcher {
  /** Keys to look at, and how many looks they had. */
  #waiting = new Map<string, number>();
  #running = false;
  #busy = false;
  #scheduled = false;
  /** A look failed a moment ago. */
  #resting = false;
  #renewals = 0;
  #renewalsSince = 0;
  /** In the second before, more keys were renewed than can be looked at. */
  #flooded = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Keys that wait for their next look, by the looks they had: the first to come is the first to be looked at. */
  readonly #later = SECOND_LOOKS.map(
    () => new Fifo<{ key: string; at: number }>(),
  );

  constructor(private readonly options: EnrolmentOptions) {}

  resume(): void {
    this.#running = true;
  }

  pause(): void {
    this.#running = false;
    this.#waiting.clear();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#resting = false;
    for (const keys of this.#later) keys.clear();
  }

  /** A key was created: it may have a deadline now, or be given one in a moment. */
  created(key: Buffer): void {
    if (!this.#running) return;
    if (this.#waiting.size >= MOST_WAITING) this.options.onOverflow();
    else this.#await(key.toString('latin1'), 0);
  }

  /** A key was given a deadline. Above a rate that is left to the scan. */
  renewed(key: Buffer): void {
    if (!this.#running || this.#waiting.size >= MOST_WAITING) return;
    const now = Date.now();
    const elapsed = Math.abs(now - this.#renewalsSince);
    if (elapsed >= 1_000) {
      // To look at a few of many would cost much and find little.
      this.#flooded = elapsed < 2_000 && this.#renewals > MOST_RENEWALS;
      this.#renewalsSince = now;
      this.#renewals = 0;
    }
    if (++this.#renewals > MOST_RENEWALS || this.#flooded) return;
    this.#await(key.toString('latin1'), SECOND_LOOKS.length);
  }

  /** A key was written or removed: whatever gives it a deadline later will be told too. */
  changed(key: Buffer): void {
    if (!this.#running) return;
    if (this.#waiting.size >= MOST_WAITING) this.options.onOverflow();
    else this.#await(key.toString('latin1'), SECOND_LOOKS.length);
  }

  #await(key: string, looks: number): void {
    // Who waits for second looks goes on to get them.
    this.#waiting.set(key, Math.min(looks, this.#waiting.get(key) ?? looks));
    if (this.#scheduled || this.#busy || this.#resting) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#lookAtWaiting();
    });
  }

  async #lookAtWaiting(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#running && !this.#resting && this.#waiting.size > 0) {
      const batch = [...take(this.#waiting, BATCH)];
      try {
        await this.#lookAt(batch);
      } catch (error) {
        this.options.onError(error);
        if (!isDenied(error)) this.#lookAgainSoon(batch);
      }
    }
    this.#busy = false;
  }

  /** A connection that broke will be back soon: sooner than a scan could find them. */
  #lookAgainSoon(batch: readonly [key: string, looks: number][]): void {
    if (!this.#running) return;
    this.#resting = true;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#resting = false;
      void this.#lookAtWaiting();
    }, AGAIN).unref();
    this.#timers.add(timer);
    for (const [key, looks] of batch) this.#await(key, looks);
  }

  async #lookAt(batch: readonly [key: string, looks: number][]): Promise<void> {
    const keys = batch.map(([key]) => Buffer.from(key, 'latin1'));
    const { now, ttls } = await this.options.reader.read(keys);
    const entries: DeadlineEntry[] = [];
    let soonest = Infinity;
    batch.forEach(([key, looks], i) => {
      const ttl = ttls[i]!;
      if (ttl >= 0) {
        entries.push({ key: keys[i]!, at: now + ttl });
        soonest = Math.min(soonest, now + ttl);
      } else if (ttl === -1) this.#lookAgain(key, looks);
    });
    if (entries.length === 0 || !this.#running) return;
    try {
      await this.options.index.enrol(entries);
    } finally {
      // Though the answer was lost, they may be enrolled.
      this.options.onEnrolled(soonest);
    }
  }

  #lookAgain(key: string, looks: number): void {
    const delay = SECOND_LOOKS[looks];
    const later = this.#later[looks];
    if (delay === undefined || !later || !this.#running) return;
    if (later.size >= MOST_WAITING) {
      this.options.onOverflow();
      return;
    }
    later.push({ key, at: performance.now() + delay });
    if (later.size === 1) this.#lookAgainIn(delay, looks);
  }

  /** One timer for all that wait equally long: it goes off for the first, and takes those that are nearly due along. */
  #lookAgainIn(ms: number, looks: number): void {
    const later = this.#later[looks]!;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const soon = performance.now() + 2;
      while (later.first && later.first.at <= soon)
        this.#await(later.shift()!.key, looks + 1);
      if (later.first)
        this.#lookAgainIn(later.first.at - performance.now(), looks);
    }, ms).unref();
    this.#timers.add(timer);
  }
}

function* take<K, V>(map: Map<K, V>, count: number): Generator<[K, V]> {
  for (const entry of map) {
    if (count-- <= 0) return;
    map.delete(entry[0]);
    yield entry;
  }
}
