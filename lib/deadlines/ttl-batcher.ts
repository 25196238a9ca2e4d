import { Fifo } from '../util/fifo.js';
import { KeyBatch } from '../util/key-batch.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import { isDenied } from '../connection/server-error.js';
import type { DeadlineEntry, DeadlineIndex } from './deadline-index.js';
import type { TtlReader } from './ttl-reader.js';

/** Keys whose time to live is read in one round trip. */
const BATCH_SIZE = 500;
/** Ms after which a new key without a deadline is looked at again: HSET, then EXPIRE. */
const SECOND_LOOKS_MS = [10, 100, 1_000, 10_000];
/** Looks after which a key without a deadline is given up, whatever may come. */
const NO_SECOND_LOOK = SECOND_LOOKS_MS.length;
/** The same, of a key of which nothing was announced. */
const UNHEARD = NO_SECOND_LOOK + 1;
/** Keys that may wait for a look, and for each of the second looks. */
const MOST_WAITING = 200_000;
/** `expire` events whose key is read anew, in a second. */
const MOST_RENEWALS_PER_SECOND = 2_000;

export interface TtlBatcherOptions {
  readonly index: Pick<DeadlineIndex, 'enrol' | 'zsetFor'>;
  readonly reader: Pick<TtlReader, 'read'>;
  /** Keys were enrolled; `soonest` is the soonest of their deadlines. */
  readonly onEnrolled: (soonest: number) => void;
  /** Too much came at once to look at each key: a scan has to find what was left out. */
  readonly onOverflow: () => void;
  /** A look failed. It is made again, unless the ACL forbids it: then the keys are left out. */
  readonly onError: (error: unknown) => void;
}

/**
 * Learns deadlines from what Redis announces: it reads the time to live of keys that were created or
 * given one, in batches, and enrols them. `DeadlineDiscovery` tells it of the keys.
 *
 * States:
 * - *paused* (at first, and after `pause`): hints are ignored, and nothing waits, because a scan
 *   follows every pause.
 * - *running* (after `resume`): a key that is told of waits in a `KeyBatch` for its look. One that is
 *   found without a deadline, and was created a moment ago, is looked at again after 10 ms, 100 ms, 1 s
 *   and 10 s.
 *
 * Guarantees: a hint is O(1), and nothing is read before it returns. What waits is bounded; what is
 * left out is made up for by a scan.
 */
export class TtlBatcher {
  /** The keys to look at, each with the number of looks that it had. */
  readonly #keys = new KeyBatch(
    (keys, looks) => this.#lookAt(keys, looks),
    (error) => this.options.onError(error),
    { batchSize: BATCH_SIZE, capacity: MOST_WAITING },
  );
  /** Keys that wait for their next look, by the looks they had: the first to come is the first to be looked at. */
  readonly #later = SECOND_LOOKS_MS.map(
    () => new Fifo<{ key: string; at: number }>(),
  );
  readonly #laterTimer = new SoonestTimer(() => this.#lookAtLater());
  #renewals = 0;
  #renewalsSince = 0;
  /** In the second before, more keys were renewed than can be looked at. */
  #isFlooded = false;

  constructor(private readonly options: TtlBatcherOptions) {}

  resume(): void {
    this.#keys.resume();
  }

  pause(): void {
    this.#keys.pause();
    this.#laterTimer.cancel();
    for (const keys of this.#later) keys.clear();
  }

  /** A key was created: it may have a deadline now, or be given one in a moment. */
  created(key: Buffer): void {
    this.#add(key, 0);
  }

  /** A key was written or removed: whatever gives it a deadline later will be told too. */
  changed(key: Buffer): void {
    this.#add(key, NO_SECOND_LOOK);
  }

  /** A key may have another deadline, though nothing was announced of it: it is left out where too many wait. */
  looked(key: Buffer): void {
    if (!this.#keys.isFull) this.#keys.add(key.toString('latin1'), UNHEARD);
  }

  /** A key was given a deadline. Above a rate that is left to the scan. */
  renewed(key: Buffer): void {
    if (!this.#keys.isRunning || this.#keys.isFull) return;
    const now = Date.now();
    const elapsed = Math.abs(now - this.#renewalsSince);
    if (elapsed >= 1_000) {
      // To look at a few of many would cost much and find little.
      this.#isFlooded =
        elapsed < 2_000 && this.#renewals > MOST_RENEWALS_PER_SECOND;
      this.#renewalsSince = now;
      this.#renewals = 0;
    }
    if (++this.#renewals > MOST_RENEWALS_PER_SECOND || this.#isFlooded) return;
    this.#keys.add(key.toString('latin1'), NO_SECOND_LOOK);
  }

  #add(key: Buffer, looks: number): void {
    if (!this.#keys.isRunning) return;
    if (this.#keys.isFull) this.options.onOverflow();
    // A key that waits for second looks keeps them: the smaller number of looks counts.
    else this.#keys.add(key.toString('latin1'), looks);
  }

  async #lookAt(
    keys: readonly Buffer[],
    looks: readonly number[],
  ): Promise<void> {
    try {
      await this.#enrol(keys, looks);
    } catch (error) {
      if (!isDenied(error)) throw error;
      // An operator has to mend that: to try again would only fail again.
      this.options.onError(error);
    }
  }

  async #enrol(
    keys: readonly Buffer[],
    looks: readonly number[],
  ): Promise<void> {
    const { index, reader } = this.options;
    const { now, ttls, isNoted } = await reader.read(
      keys,
      index.zsetFor?.(keys),
    );
    const entries: DeadlineEntry[] = [];
    let soonest = Infinity;
    keys.forEach((key, i) => {
      const ttl = ttls[i]!;
      if (ttl >= 0) {
        entries.push({ key, at: now + ttl, ...learntBy(looks[i]!) });
        soonest = Math.min(soonest, now + ttl);
      } else if (ttl === -1) this.#lookAgain(key, looks[i]!);
    });
    if (entries.length === 0 || !this.#keys.isRunning) return;
    try {
      await index.enrol(entries, isNoted);
    } finally {
      // Though the answer was lost, they may be enrolled.
      this.options.onEnrolled(soonest);
    }
  }

  #lookAgain(key: Buffer, looks: number): void {
    const delay = SECOND_LOOKS_MS[looks];
    const later = this.#later[looks];
    if (delay === undefined || !later || !this.#keys.isRunning) return;
    if (later.size >= MOST_WAITING) {
      this.options.onOverflow();
      return;
    }
    const at = performance.now() + delay;
    later.push({ key: key.toString('latin1'), at });
    if (later.size === 1) this.#laterTimer.within(delay);
  }

  /** Looks at the keys whose next look is due, and takes along those that are nearly due. */
  #lookAtLater(): void {
    const now = performance.now();
    this.#later.forEach((later, looks) => {
      while (later.first && later.first.at <= now + 2)
        this.#keys.add(later.shift()!.key, looks + 1);
      if (later.first) this.#laterTimer.within(later.first.at - now);
    });
  }
}

/** Why a deadline was learnt, by the looks that the key had. */
function learntBy(looks: number): Pick<DeadlineEntry, 'learnt'> {
  if (looks === UNHEARD) return {};
  return { learnt: looks === NO_SECOND_LOOK ? 'renewed' : 'created' };
}
