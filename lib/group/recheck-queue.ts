import { KeyBatch } from '../util/key-batch.js';

/** Keys that are judged in one round trip. */
const BATCH_SIZE = 500;
/** Keys that may wait, of those to which something merely happened. */
const MOST_CHANGED = 50_000;

/**
 * Collects the keys of one node of which something was heard, and has them judged in batches, each
 * key once. Its `GroupNode` fills it.
 *
 * States, failures and batches are those of `KeyBatch`: paused (at first) ⇄ running.
 *
 * Guarantees: a key whose expiry was announced is never left out, because the announcement is the
 * only proof of it. A mere change is left out where too many wait.
 */
export class RecheckQueue {
  readonly #keys: KeyBatch;

  constructor(
    judge: (keys: readonly Buffer[]) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#keys = new KeyBatch(judge, onError, {
      batchSize: BATCH_SIZE,
      capacity: MOST_CHANGED,
    });
  }

  resume(): void {
    this.#keys.resume();
  }

  pause(): void {
    this.#keys.pause();
  }

  /** The key's expiry was announced. */
  expired(key: Buffer): void {
    this.#keys.add(key.toString('latin1'));
  }

  /** The key was deleted, renamed, evicted or the like. Returns whether it will be judged. */
  changed(key: Buffer): boolean {
    if (!this.#keys.isRunning || this.#keys.isFull) return false;
    this.#keys.add(key.toString('latin1'));
    return true;
  }

  /** Nothing is open about these keys, told in latin1, any more. */
  settled(keys: Iterable<string>): void {
    for (const key of keys) this.#keys.remove(key);
  }
}
