import type { Verdict } from '../deadlines/deadline-index.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { Turns } from '../turns.js';
import { type RedisIndex, type SettleRequest, batches } from './redis-index.js';

/** Is told of verdicts that reached the index, and of each whether it was applied. Must not throw. */
export type OnAnswer = (
  verdicts: readonly Verdict[],
  applied: readonly boolean[],
) => void;

interface Asked {
  readonly request: SettleRequest;
  readonly onAnswer: OnAnswer;
}

/** The server did nothing, and says so. */
export const DID_NOTHING = /^(LEASE|STALE|NOPERM)/;

/**
 * Has verdicts applied to a group's index, for all nodes that one holder of the lease watches.
 *
 * Guarantees: a request is done once, also where its answer is lost: it is sent again, and answered,
 * before another one is made. What it says holds at any time, for it is of the lives whose scores
 * were seen, or of announcements that were heard.
 */
export class Settling {
  readonly #turns = new Turns();
  /** A request to which no answer came. */
  #unanswered: Asked | undefined;

  constructor(
    private readonly index: Pick<RedisIndex, 'settleRequest' | 'send'>,
  ) {}

  /** Asks again what was not answered. To be called before anything is concluded from what is known: an answer uses it up. */
  prepare(): Promise<void> {
    return this.#turns.take(() => this.#askAgain());
  }

  /**
   * Resolves when all is answered. Rejects where a connection or the lease was lost: each verdict of
   * which `onAnswer` was not told may be applied, and then it is told of that later; or it is not.
   */
  settle(
    verdicts: readonly Verdict[],
    now: number,
    onAnswer: OnAnswer,
  ): Promise<void> {
    return this.#turns.take(async () => {
      await this.#askAgain();
      for (const batch of batches(verdicts)) {
        const request = this.index.settleRequest(batch, now);
        await this.#ask({ request, onAnswer });
      }
    });
  }

  async #askAgain(): Promise<void> {
    if (this.#unanswered) await this.#ask(this.#unanswered);
  }

  async #ask(asked: Asked): Promise<void> {
    const { request, onAnswer } = asked;
    this.#unanswered = asked;
    const applied = await this.index.send(request).catch((error: unknown) => {
      if (DID_NOTHING.test(reasonOf(error))) this.#unanswered = undefined;
      throw error;
    });
    this.#unanswered = undefined;
    onAnswer(request.verdicts, applied);
  }
}
