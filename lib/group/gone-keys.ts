import { KeyBatch } from '../util/key-batch.js';

/** Ms between the beginnings of two rounds, and so between two proofs of the same node. */
const INTERVAL_MS = 1_000;
/** Keys that are judged by one proof. */
const BATCH_SIZE = 2_000;
/** Keys that may wait; more are left until their deadlines, where a look finds them gone. */
const MOST_WAITING = 50_000;

/**
 * Collects the keys of one node that were said to be gone without having expired: deleted, renamed,
 * moved, evicted. It has them judged together, because a deletion has no deadline to keep, and the
 * proof that it is none costs the server more than the deletion did.
 *
 * To take a key for deleted, this order is needed: a look finds it gone; *then* everything that the
 * server announced before is heard, and the server is shown to be the one that is listened to, a
 * primary, with its flags on; then a second look settles it. A proof from before the first look shows
 * nothing: were the flags switched off or the server demoted since then, a key that expired would look
 * like one that was deleted, and its expiry would be lost without a word. So a proof is not reused for
 * later looks; it is shared, by waiting, among the looks that come before it.
 *
 * States are those of `KeyBatch`: paused (at first) ⇄ running. The first key after a quiet second is
 * judged at once, those that follow wait for the next round.
 *
 * Guarantees: one round a second at most. A key waits in the index, too: where listening or the
 * process is lost before its round, it counts as what it then looks like, which is expired if its
 * deadline fell into the gap, and never the other way round.
 */
export class GoneKeys {
  readonly #keys: KeyBatch;
  #left: ReadonlySet<string> = new Set();

  constructor(
    judge: (keys: readonly Buffer[]) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#keys = new KeyBatch(judge, onError, {
      batchSize: BATCH_SIZE,
      capacity: MOST_WAITING,
      intervalMs: INTERVAL_MS,
    });
  }

  resume(): void {
    this.#keys.resume();
  }

  /** Forgets what waits and what is being judged, but for what `wasLeft` tells. */
  pause(): void {
    this.#left = new Set(this.#keys.texts());
    this.#keys.pause();
  }

  /** Whether nobody had judged the key yet when this was paused last. */
  wasLeft(key: Buffer): boolean {
    return this.#left.has(key.toString('latin1'));
  }

  /** The key was written anew: it is not gone. O(1). */
  remove(key: Buffer): void {
    if (this.#keys.size > 0) this.#keys.remove(key.toString('latin1'));
  }

  /** Something was announced that means that the key is gone. O(1). */
  add(key: Buffer): void {
    if (!this.#keys.isFull) this.#keys.add(key.toString('latin1'));
  }
}
