import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { RedisIndex } from './redis-index.js';

/** Goes through a group's index in the order of deadlines, and leaves behind what it passed. */
export class EntryCursor {
  #from = -Infinity;
  /** Keys that it passed whose deadline is the one where it stands. */
  readonly #passed = new Set<string>();

  constructor(private readonly index: Pick<RedisIndex, 'range'>) {}

  /** Where it stands: entries with an earlier deadline lie behind it. */
  get from(): number {
    return this.#from;
  }

  /** Begins anew. */
  restart(from = -Infinity): void {
    this.#from = from;
    this.#passed.clear();
  }

  /** The next entries whose deadline is before `to`, `limit` at most; fewer only if there are no more. */
  async page(to: number, limit: number): Promise<DeadlineEntry[]> {
    const most = limit + this.#passed.size;
    const entries = await this.index.range(this.#from, to, most);
    const ahead = entries.filter(
      ({ key, at }) =>
        at > this.#from || !this.#passed.has(key.toString('latin1')),
    );
    return ahead.slice(0, limit);
  }

  /** Leaves entries behind, which it gave, in their order. */
  pass(entries: readonly DeadlineEntry[]): void {
    for (const { key, at } of entries) {
      if (at > this.#from) this.restart(at);
      this.#passed.add(key.toString('latin1'));
    }
  }
}
