/** Keys that are judged in one round trip. */
const BATCH = 500;
/** Keys that may wait, of those to which something merely happened. */
const MOST_CHANGED = 50_000;
/** Ms before keys whose judging failed are judged again. */
const AGAIN = 100;

/**
 * Collects keys that something was heard of, and has them judged in batches, each key once. Keys
 * whose expiry was announced are never left out; a mere change is, above a limit.
 *
 * States: paused (at first) ⇄ running.
 */
export class RecheckQueue {
  readonly #waiting = new Set<string>();
  #running = false;
  #busy = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly judge: (keys: readonly Buffer[]) => Promise<void>,
    private readonly onError: (error: unknown) => void,
  ) {}

  resume(): void {
    this.#running = true;
  }

  pause(): void {
    this.#running = false;
    this.#waiting.clear();
    if (this.#timer) this.#busy = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Its expiry was announced. */
  expired(key: Buffer): void {
    if (this.#running) this.#await(key);
  }

  /** It was deleted, renamed, evicted or the like. Whether it is looked at. */
  changed(key: Buffer): boolean {
    if (!this.#running || this.#waiting.size >= MOST_CHANGED) return false;
    this.#await(key);
    return true;
  }

  /** Nothing is open about them any more. */
  settled(keys: Iterable<string>): void {
    for (const key of keys) this.#waiting.delete(key);
  }

  #await(key: Buffer): void {
    this.#waiting.add(key.toString('latin1'));
    if (this.#busy) return;
    this.#busy = true;
    setImmediate(() => void this.#judgeWaiting());
  }

  async #judgeWaiting(): Promise<void> {
    let batch: string[] = [];
    try {
      while (this.#running && this.#waiting.size > 0) {
        batch = take(this.#waiting, BATCH);
        await this.judge(batch.map((key) => Buffer.from(key, 'latin1')));
      }
      this.#busy = false;
    } catch (error) {
      this.onError(error);
      if (!this.#running) {
        this.#busy = false;
        return;
      }
      for (const key of batch) this.#waiting.add(key);
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        void this.#judgeWaiting();
      }, AGAIN).unref();
    }
  }
}

function take(keys: Set<string>, count: number): string[] {
  const taken: string[] = [];
  for (const key of keys) {
    if (taken.length === count) break;
    taken.push(key);
    keys.delete(key);
  }
  return taken;
}
