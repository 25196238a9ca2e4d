import type {
  DeadlineEntry,
  DeadlineIndex,
  Verdict,
} from './deadline-index.js';
import { SlotHeap } from './slot-heap.js';

/**
 * The index of one instance that forgets with its process: for broadcast. Leaves nothing in Redis.
 *
 * Keys are kept as latin1 strings, which hold any bytes at one byte each. A 16-byte key takes about
 * 90 bytes in all.
 */
export class MemoryIndex implements DeadlineIndex {
  readonly #slots = new Map<string, number>();
  readonly #keys: (string | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #heap = new SlotHeap();

  enrol(entries: readonly DeadlineEntry[]): Promise<void> {
    for (const { key, at } of entries) {
      const text = key.toString('latin1');
      const slot = this.#slots.get(text);
      if (slot === undefined || at < this.#heap.timeOf(slot))
        this.#put(text, slot, at);
    }
    return Promise.resolve();
  }

  peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    const taken: number[] = [];
    const due: DeadlineEntry[] = [];
    let first = this.#heap.first;
    while (first !== undefined && due.length < limit) {
      const at = this.#heap.timeOf(first);
      if (at >= now) break;
      due.push({ key: Buffer.from(this.#keys[first]!, 'latin1'), at });
      taken.push(first);
      this.#heap.remove(first);
      first = this.#heap.first;
    }
    // Put back: taking a look decides nothing, only settling does.
    const next = first === undefined ? undefined : this.#heap.timeOf(first);
    taken.forEach((slot, i) => this.#heap.set(slot, due[i]!.at));
    return Promise.resolve({ due, next });
  }

  settle(verdicts: readonly Verdict[]): Promise<boolean[]> {
    return Promise.resolve(
      verdicts.map(({ key, seen, at }) => {
        const text = key.toString('latin1');
        const slot = this.#slots.get(text);
        const current = slot === undefined ? slot : this.#heap.timeOf(slot);
        if (current !== seen) return false;
        if (at !== undefined) this.#put(text, slot, at);
        else if (slot !== undefined) this.#drop(text, slot);
        return true;
      }),
    );
  }

  /** Takes a key out, whatever its entry, and tells what it was. At once: for the socket's callback. */
  take(key: Buffer): number | undefined {
    const text = key.toString('latin1');
    const slot = this.#slots.get(text);
    if (slot === undefined) return undefined;
    const at = this.#heap.timeOf(slot);
    this.#drop(text, slot);
    return at;
  }

  has(key: Buffer): boolean {
    return this.#slots.has(key.toString('latin1'));
  }

  size(): Promise<number> {
    return Promise.resolve(this.count);
  }

  get count(): number {
    return this.#slots.size;
  }

  #put(text: string, known: number | undefined, at: number): void {
    const slot = known ?? this.#free.pop() ?? this.#keys.length;
    if (known === undefined) {
      this.#keys[slot] = text;
      this.#slots.set(text, slot);
    }
    this.#heap.set(slot, at);
  }

  #drop(text: string, slot: number): void {
    this.#slots.delete(text);
    this.#keys[slot] = undefined;
    this.#free.push(slot);
    this.#heap.remove(slot);
  }
}
