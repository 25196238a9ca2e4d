import { SoonestTimer } from './soonest-timer.js';

/** Ms before keys whose work failed are worked on again: a connection that broke is back soon. */
const RETRY_DELAY_MS = 100;

/** A key in latin1, and its note. */
type Entry = [text: string, note: number];

/** How a `KeyBatch` cuts its work. */
export interface KeyBatchLimits {
  /** The most keys that one call of the work is given. */
  readonly batchSize: number;
  /** How many keys may wait before `isFull` says so. */
  readonly capacity: number;
  /** Ms between the beginnings of two rounds at least; 0 unless told otherwise. */
  readonly intervalMs?: number;
}

/**
 * The one queue of keys that wait for some work on them: each key once, in batches, in the order in
 * which they came. A key is told by its bytes as latin1 text, which holds any bytes, compares
 * fast, and takes one byte of memory each.
 *
 * `TtlBatcher` reads times to live by it, and a group's `RecheckQueue` and `GoneKeys` have keys
 * judged by it.
 *
 * States:
 * - *paused* (at first, and after `pause`): nothing waits, and what is added is ignored.
 * - *idle* (after `resume`): nothing waits. The first key begins a round, at the end of this turn of
 *   the event loop, or once `intervalMs` have passed since the last round began.
 * - *round*: everything that waited when the round began is worked on, batch after batch; what comes
 *   meanwhile waits for the next round. It ends with the last batch, at the first failure, or by
 *   `pause`.
 * - *resting* (after a failure): the keys of the batch that failed wait again, with what comes
 *   meanwhile. The next round begins after 100 ms, or `intervalMs` where that is longer.
 *
 * Guarantees: at most one batch is under way, and one timer runs. Keys that were taken before a
 * `pause` are not put back after it, and the rest of their round is not worked on.
 *
 * Left to the caller: the bound. `isFull` tells when there are as many as may wait; a caller that can
 * make up for a key that it leaves out asks before it adds.
 */
export class KeyBatch {
  /** The keys, each with its note. */
  readonly #waiting = new Map<string, number>();
  /** The batch that is worked on. */
  #underWay: readonly Entry[] = [];
  #isRunning = false;
  /** Changes with every pause. */
  #span = 0;
  /** When the next round may begin, by `performance.now()`. */
  #notBefore = -Infinity;
  readonly #timer = new SoonestTimer(() => this.#workOffRound());

  /**
   * @param work is given the keys of a batch, and the note of each; it rejects to get them again
   * @param onError is told why the work rejected
   */
  constructor(
    private readonly work: (keys: Buffer[], notes: number[]) => Promise<void>,
    private readonly onError: (error: unknown) => void,
    private readonly limits: KeyBatchLimits,
  ) {}

  /** How many keys wait; those that are worked on now are not among them. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Whether as many keys wait as may. */
  get isFull(): boolean {
    return this.#waiting.size >= this.limits.capacity;
  }

  /** Whether keys that are added are worked on. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** The keys that wait and those that are worked on now, in latin1. */
  texts(): string[] {
    return [...this.#underWay.map(([text]) => text), ...this.#waiting.keys()];
  }

  /** Keys that are added from now on are worked on. */
  resume(): void {
    this.#isRunning = true;
  }

  /** Forgets all keys, and ignores those to come. A batch that is under way goes on to its end. */
  pause(): void {
    this.#isRunning = false;
    this.#span++;
    this.#waiting.clear();
    this.#timer.cancel();
  }

  /**
   * Adds a key. O(1), and nothing is worked on before the caller returns.
   *
   * @param text the key in latin1
   * @param note a number that the work is given with the key; of two, the smaller one counts
   */
  add(text: string, note = 0): void {
    if (!this.#isRunning) return;
    const known = this.#waiting.get(text);
    if (known !== undefined && known <= note) return;
    this.#waiting.set(text, note);
    if (known === undefined && this.#waiting.size === 1) this.#schedule();
  }

  /** Takes a key out that waits, as nothing is to be done about it any more. */
  remove(text: string): void {
    this.#waiting.delete(text);
  }

  #schedule(): void {
    this.#timer.within(this.#notBefore - performance.now());
  }

  async #workOffRound(): Promise<void> {
    const span = this.#span;
    const { batchSize, intervalMs = 0 } = this.limits;
    this.#notBefore = performance.now() + intervalMs;
    // One iterator for the round: each new one would walk over all that was taken before.
    const waiting = this.#waiting.entries();
    let left = this.#waiting.size;
    while (left > 0 && span === this.#span) {
      const batch = this.#take(waiting, Math.min(left, batchSize));
      // Keys may have been removed meanwhile.
      if (batch.length === 0) break;
      left -= batch.length;
      this.#underWay = batch;
      try {
        await this.work(
          batch.map(([text]) => Buffer.from(text, 'latin1')),
          batch.map(([, note]) => note),
        );
      } catch (error) {
        this.onError(error);
        if (span !== this.#span) break;
        for (const [text, note] of batch) this.add(text, note);
        this.#notBefore = Math.max(
          this.#notBefore,
          performance.now() + RETRY_DELAY_MS,
        );
        break;
      } finally {
        this.#underWay = [];
      }
    }
    // What came meanwhile asked for a round too soon, if this one failed.
    this.#timer.cancel();
    if (this.#waiting.size > 0) this.#schedule();
  }

  #take(waiting: Iterator<Entry, undefined>, count: number): Entry[] {
    const taken: Entry[] = [];
    while (taken.length < count) {
      const { value } = waiting.next();
      if (!value) break;
      taken.push(value);
      this.#waiting.delete(value[0]);
    }
    return taken;
  }
}
