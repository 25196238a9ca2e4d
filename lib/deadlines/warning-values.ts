import type { DeadlineEntry } from './deadline-index.js';
import { ValueMemory } from './value-memory.js';
import { type ValueParts, ValueReader } from './value-reader.js';

/** What reading the values of keys that are warned of takes; `wishes` are those of warnings, so many ms before. */
export type WarningValueParts = Omit<ValueParts, 'options'> & {
  readonly options: Pick<ValueParts['options'], 'maxBytes'>;
};

/**
 * Reads the values of keys that are about to be warned of, for handlers that ask for them. A book of warnings has one, and asks it
 * in the moment before the look that warns.
 *
 * Guarantees: a value is told with the deadline that its key had when it was read, so that whoever warns can tell
 * whether it is of the same life.
 */
export class WarningValues {
  constructor(
    private readonly before: number,
    private readonly parts: WarningValueParts,
  ) {}

  /** Resolves with what was read of those keys of which somebody asks for the value. Rejects as the connection does. */
  async read(due: readonly DeadlineEntry[]): Promise<ValueMemory> {
    const memory = new ValueMemory();
    const { wishes, options } = this.parts;
    if (wishes.kinds === undefined) return memory;
    const reader = new ValueReader(memory, {
      ...this.parts,
      options: { ...options, lead: this.before },
    });
    // Their looks are lower bounds; what more time is left of is not read.
    const asked = due
      .filter(({ key }) => reader.wants(key))
      .map(({ key, at }) => ({ key, at: at + this.before }));
    if (asked.length > 0) await reader.look(asked);
    return memory;
  }
}
