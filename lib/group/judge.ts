import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { toText } from './evidence.js';
import { Mutex } from '../util/mutex.js';
import { type JudgedNode, type JudgingTerm, Sweep } from './sweep.js';

/** Keys that one script looks at: some hundreds of microseconds of the server's time. */
const CHUNK = 500;
/** Bytes of values that go along with them, about. */
const MOST_BYTES = 1_000_000;

/**
 * Looks at keys of one node and settles what became of them: alive, look again then; expired, and an
 * event is appended; or deleted. The table in the header of the script SWEEP says which. `GroupNode`
 * calls it for keys that are due, that were announced, or that were said to be gone.
 *
 * To take a key for deleted, this order is needed: a look finds it gone; then everything is heard that
 * the server announced before; then a second look settles it. Keys that are looked at together share
 * that proof.
 *
 * Guarantees: one request at a time is under way to the server; an expiry is appended once, by whoever
 * holds the lease. Nothing is looked at, and nothing is settled, by what was known before listening was
 * lost: whoever asked for that is rejected, and its keys are left as they are.
 */
export class Judge {
  readonly #mutex = new Mutex();
  readonly #sweep: Sweep;

  constructor(
    term: JudgingTerm,
    private readonly node: JudgedNode,
  ) {
    this.#sweep = new Sweep(term, node);
  }

  /** As `judge`, of keys that are due. */
  judgeDue(entries: readonly DeadlineEntry[]): Promise<void> {
    return this.judge(entries.map(({ key }) => key));
  }

  /**
   * Looks at keys, whether the index knows them or not. Rejects where a connection, the lease or
   * listening was lost: what was not settled by then can be asked for again.
   */
  async judge(keys: readonly Buffer[]): Promise<void> {
    const { generation } = this.node.evidence;
    const unsure: Buffer[] = [];
    for (const chunk of this.#chunks(keys)) {
      const left = await this.#inTurn(generation, () =>
        this.#sweep.find(chunk),
      );
      unsure.push(...left);
    }
    if (unsure.length === 0) return;
    await this.#hearAll();
    for (const chunk of this.#chunks(unsure))
      await this.#inTurn(generation, () => this.#sweep.settle(chunk));
  }

  *#chunks(keys: readonly Buffer[]): Generator<readonly Buffer[]> {
    const { values } = this.node;
    let [from, bytes] = [0, 0];
    for (let i = 0; i < keys.length; i++) {
      if (i - from === CHUNK || bytes > MOST_BYTES) {
        yield keys.slice(from, i);
        [from, bytes] = [i, 0];
      }
      if (values.size > 0)
        bytes += values.get(toText(keys[i]!))?.value?.bytes.length ?? 0;
    }
    if (from < keys.length) yield keys.slice(from);
  }

  /** `generation`: of the evidence when the work was asked for. */
  #inTurn<T>(generation: number, work: () => Promise<T>): Promise<T> {
    return this.#mutex.run(async () => {
      this.#assertListening(generation);
      await this.#sweep.prepare();
      this.#assertListening(generation);
      return work();
    });
  }

  /** To look while nobody listens would destroy evidence. */
  #assertListening(generation: number): void {
    if (generation !== this.node.evidence.generation)
      throw new Error('listening was lost');
  }

  /** A server that announces nothing, as it seems, may do so all the same; where it cannot be asked, there is nothing to wait for. */
  async #hearAll(): Promise<void> {
    try {
      await this.node.barrier();
    } catch (error) {
      if (!this.node.isSilent) throw error;
    }
  }
}
