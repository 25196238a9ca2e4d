import { SoonestTimer } from '../util/soonest-timer.js';
import type { RedisIndex } from './redis-index.js';

/** Ms between two looks. */
const INTERVAL_MS = 500;

/**
 * Looks for entries of the index that others added: whoever arms keys writes into it, and where a server
 * announces no new keys nobody else tells of that. `GroupNode` has one.
 *
 * States: paused (at first) ⇄ running; stopped, by `stop`, for good.
 *
 * Guarantees: what is due and was added by others is known of within half a second.
 */
export class Arrivals {
  #isRunning = false;
  readonly #timer = new SoonestTimer(() => this.#look());

  /** @param node is told when the first entry is due */
  constructor(
    private readonly index: Pick<RedisIndex, 'next'>,
    private readonly node: { due(soonest: number): void },
  ) {}

  resume(): void {
    this.#isRunning = true;
    this.#timer.within(INTERVAL_MS);
  }

  pause(): void {
    this.#isRunning = false;
    this.#timer.cancel();
  }

  stop(): void {
    this.#isRunning = false;
    this.#timer.stop();
  }

  async #look(): Promise<void> {
    try {
      const soonest = await this.index.next(-Infinity);
      if (this.#isRunning && soonest !== undefined) this.node.due(soonest);
    } catch {
      // The connection tells by itself what is wrong with it, and the next look is soon.
    }
    if (this.#isRunning) this.#timer.within(INTERVAL_MS);
  }
}
