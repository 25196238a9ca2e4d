import type { ReadValue } from '../dispatch/event-value.js';

/** What a look a moment before the deadline found. */
export interface RememberedValue {
  /** The deadline of the life that the value is of, in epoch ms by Redis's clock. */
  readonly deadline: number;
  /** Undefined where there is none to show: too long, or of another type. */
  readonly value: ReadValue | undefined;
}

/** Bytes of all values together; those that were read first are given up where there are more. */
const MOST_BYTES = 64 * 1024 * 1024;
/** What an entry takes beside its value, about. */
const ENTRY_BYTES = 200;
/** Ms after its deadline for which a value is kept that nobody asked for. */
const MEMORY_MS = 10_000;

/**
 * The values of one node's keys that are about to run out, from the reading to the end of each key. Keys are told in
 * latin1.
 *
 * Guarantees: a value is told only of the life that it was read of, which its deadline names. What it holds is
 * bounded.
 */
export class ValueMemory {
  /** By when they were read, the oldest first. */
  readonly #values = new Map<string, RememberedValue>();
  #bytes = 0;

  constructor(private readonly mostBytes = MOST_BYTES) {}

  get size(): number {
    return this.#values.size;
  }

  /** What was found of a key, of whichever life. */
  get(text: string): RememberedValue | undefined {
    return this.#values.get(text);
  }

  /** The value of the life that ended at a deadline. */
  of(text: string, deadline: number): ReadValue | undefined {
    const remembered = this.#values.get(text);
    return remembered?.deadline === deadline ? remembered.value : undefined;
  }

  /** Whether the look for that deadline was made. */
  knows(text: string, deadline: number): boolean {
    return this.#values.get(text)?.deadline === deadline;
  }

  set(text: string, remembered: RememberedValue): void {
    this.forget(text);
    this.#values.set(text, remembered);
    this.#bytes += sizeOf(remembered);
    for (const [oldest, { deadline }] of this.#values) {
      const isOver = deadline + MEMORY_MS < remembered.deadline;
      if (!isOver && this.#bytes <= this.mostBytes) break;
      this.forget(oldest);
    }
  }

  /** The key has another life by now, or none. */
  forget(text: string): void {
    const known = this.#values.get(text);
    if (!known) return;
    this.#values.delete(text);
    this.#bytes -= sizeOf(known);
  }

  /** Something was announced of a key: it may have another life by now, or another end of this one. */
  heard(key: Buffer): void {
    // The common case: spares the key's text.
    if (this.size > 0) this.forget(key.toString('latin1'));
  }

  clear(): void {
    this.#values.clear();
    this.#bytes = 0;
  }
}

const sizeOf = ({ value }: RememberedValue): number =>
  ENTRY_BYTES + (value?.bytes.length ?? 0);
