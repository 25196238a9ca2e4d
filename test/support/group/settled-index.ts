import type {
  DeadlineIndex,
  Verdict,
} from '../../../lib/deadlines/deadline-index.js';
import { RedisIndex } from '../../../lib/group/redis-index.js';
import { type Settler, Settling } from '../../../lib/group/settling.js';

/** A settler whose verdicts count for ever, and that wants to know nothing. */
export const settler = (parts: Partial<Settler> = {}): Settler => ({
  isFresh: () => true,
  onAnswer: () => undefined,
  onForgotten: () => undefined,
  ...parts,
});

/** The index, and a way to settle at once what is not looked at. */
export class SettledIndex extends RedisIndex implements DeadlineIndex {
  readonly #settling = new Settling(this);

  /** Rejects as `Settling` does. */
  async settle(verdicts: readonly Verdict[], now = 0): Promise<boolean[]> {
    const all: boolean[] = [];
    const onAnswer: Settler['onAnswer'] = (_, applied) => all.push(...applied);
    await this.#settling.settle(verdicts, now, settler({ onAnswer }));
    return all;
  }
}
