/** Stands for a count where the handler is to get the event later, by an entry of its own. */
const SET_ASIDE = -1;

/**
 * How often each handler began to run for one event, by the handler's id, as far as nobody was told of
 * the end. A value: it never changes.
 */
export class RunCounts {
  static readonly none = new RunCounts(new Map());
  #text: string | undefined;

  private constructor(private readonly counts: ReadonlyMap<string, number>) {}

  /** Reads what `toJSON` wrote. Whatever is not readable counts as no run. */
  static from(value: unknown): RunCounts {
    const counts = Object.entries(value ?? {}).filter(
      (entry): entry is [string, number] => Number.isSafeInteger(entry[1]),
    );
    return counts.length === 0
      ? RunCounts.none
      : new RunCounts(new Map(counts));
  }

  /** Reads what `text` said. */
  static fromText(text: string): RunCounts {
    try {
      return RunCounts.from(JSON.parse(text));
    } catch {
      return RunCounts.none;
    }
  }

  get isEmpty(): boolean {
    return this.counts.size === 0;
  }

  /** As it is kept in Redis. */
  get text(): string {
    return (this.#text ??= JSON.stringify(this.toJSON() ?? {}));
  }

  of(handlerId: string): number {
    return Math.max(0, this.counts.get(handlerId) ?? 0);
  }

  /** Whether the event waits elsewhere for the handler's grace, and this entry is not for it any more. */
  isSetAside(handlerId: string): boolean {
    return this.counts.get(handlerId) === SET_ASIDE;
  }

  /** These, with the event set aside for a handler. */
  settingAside(handlerId: string): RunCounts {
    return new RunCounts(new Map(this.counts).set(handlerId, SET_ASIDE));
  }

  /** These, and one more run of a handler. */
  plus(handlerId: string): RunCounts {
    const counts = new Map(this.counts);
    return new RunCounts(counts.set(handlerId, this.of(handlerId) + 1));
  }

  toJSON(): Record<string, number> | undefined {
    return this.isEmpty ? undefined : Object.fromEntries(this.counts);
  }
}
