import { inspect } from 'node:util';
import { PATIENCE_MS } from './patience.js';

/** Keeps what it is given, in order, and lets a test wait for it. */
export class Collector<T> {
  /** Everything so far, also what `next` has handed out. */
  readonly all: T[] = [];
  #taken = 0;
  #wake: (() => void) | undefined;

  /** Bound, so that it can be handed over as a handler. */
  readonly add = (item: T): void => {
    this.all.push(item);
    this.#wake?.();
  };

  /** What came and `next` has not handed out. */
  get rest(): T[] {
    return this.all.slice(this.#taken);
  }

  /** The next items, waited for. */
  async next(count: number, timeout = PATIENCE_MS): Promise<T[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const rest = inspect(this.rest, { depth: 1, breakLength: 120 });
        reject(
          new Error(`${this.rest.length} of ${count} came in time: ${rest}`),
        );
      }, timeout);
    });
    try {
      while (this.rest.length < count) {
        const woken = new Promise<void>((resolve) => (this.#wake = resolve));
        await Promise.race([woken, late]);
      }
    } finally {
      clearTimeout(timer);
    }
    const items = this.rest.slice(0, count);
    this.#taken += count;
    return items;
  }

  /** The next item, waited for. */
  async one(timeout?: number): Promise<T> {
    const [item] = await this.next(1, timeout);
    return item!;
  }
}

export const collect = <T>(): Collector<T> => new Collector<T>();
