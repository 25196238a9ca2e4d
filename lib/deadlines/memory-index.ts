import type {
  DeadlineEntry,
  DeadlineIndex,
  Verdict,
} from './deadline-index.js';
import { SlotHeap } from '../util/slot-heap.js';

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
  /** By when to look at it: at its deadline, and where it was looked at ahead, so much later. */
  readonly #heap = new SlotHeap();
  /** Ms before its deadline at which each key is given out a first time. */
  #lead = 0;
  /** Slots whose first look is over: they wait for their deadline. */
  readonly #passed = new Set<number>();

  /** From now on each key is given out twice: so many ms before its deadline, until it was passed, and when it is due. */
  lookAhead(lead: number): void {
    // Entries that were passed are in the heap by the lead that there was.
    if (this.#lead === 0) this.#lead = lead;
  }

  /** These were looked at ahead: they are given out again when they are due, unless they were enrolled anew meanwhile. */
  pass(entries: readonly DeadlineEntry[]): void {
    for (const { key, at } of entries) {
      const slot = this.#slots.get(key.toString('latin1'));
      if (slot === undefined || this.#passed.has(slot)) continue;
      if (this.#heap.timeOf(slot) !== at) continue;
      this.#passed.add(slot);
      this.#heap.set(slot, at + this.#lead);
    }
  }

  enrol(entries: readonly DeadlineEntry[]): Promise<void> {
    for (const { key, at } of entries) {
      const text = key.toString('latin1');
      const slot = this.#slots.get(text);
      const known = slot === undefined ? Infinity : this.#deadlineOf(slot);
      // What was looked at ahead is so again: it may have a new life with the same deadline.
      if (at < known || (at === known && this.#passed.has(slot!)))
        this.#put(text, slot, at);
    }
    return Promise.resolve();
  }

  peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    const taken: [slot: number, time: number][] = [];
    const due: DeadlineEntry[] = [];
    let first = this.#heap.first;
    while (first !== undefined && due.length < limit) {
      const time = this.#heap.timeOf(first);
      if (time >= now + this.#lead) break;
      const key = Buffer.from(this.#keys[first]!, 'latin1');
      due.push({ key, at: this.#deadlineOf(first) });
      taken.push([first, time]);
      this.#heap.remove(first);
      first = this.#heap.first;
    }
    // Put back: taking a look decides nothing, only settling does.
    const next =
      first === undefined ? undefined : this.#heap.timeOf(first) - this.#lead;
    for (const [slot, time] of taken) this.#heap.set(slot, time);
    return Promise.resolve({ due, next });
  }

  settle(verdicts: readonly Verdict[]): Promise<boolean[]> {
    return Promise.resolve(
      verdicts.map(({ key, seen, at }) => {
        const text = key.toString('latin1');
        const slot = this.#slots.get(text);
        const current = slot === undefined ? slot : this.#deadlineOf(slot);
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
    const at = this.#deadlineOf(slot);
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
    this.#passed.delete(slot);
    this.#heap.set(slot, at);
  }

  #deadlineOf(slot: number): number {
    const time = this.#heap.timeOf(slot);
    return this.#passed.has(slot) ? time - this.#lead : time;
  }

  #drop(text: string, slot: number): void {
    this.#slots.delete(text);
    this.#keys[slot] = undefined;
    this.#free.push(slot);
    this.#passed.delete(slot);
    this.#heap.remove(slot);
  }
}
