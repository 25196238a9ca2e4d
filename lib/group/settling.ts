import type { Verdict } from '../deadlines/deadline-index.js';
import { Mutex } from '../util/mutex.js';
import { type RedisIndex, type SettleRequest, batches } from './redis-index.js';
import { isRefused } from './request-channel.js';

/** Whoever has verdicts settled, and is told what became of them. Nothing here may throw. */
export interface Settler {
  /** Whether what the verdicts go by still counts. */
  readonly isFresh: () => boolean;
  /** These reached the index; of each, whether it was applied. `isLate`: when they were asked again, some time after the look. */
  readonly onAnswer: (
    verdicts: readonly Verdict[],
    applied: readonly boolean[],
    isLate: boolean,
  ) => void;
  /** Whether these were applied will not be known, and what they go by does not count any more. They will not be from now on. */
  readonly onForgotten: (verdicts: readonly Verdict[]) => void;
}

interface Asked {
  readonly request: SettleRequest;
  readonly settler: Settler;
}

/**
 * Has verdicts applied to a group's index, for all nodes that one holder of the lease watches.
 *
 * Guarantees: a request is done once, also where its answer is lost: it is sent again, and answered,
 * before another one is made. Once what it goes by does not count any more it is not sent, and what
 * was sent is refused.
 */
export class Settling {
  readonly #mutex = new Mutex();
  /** A request to which no answer came. */
  #unanswered: Asked | undefined;

  constructor(
    private readonly index: Pick<RedisIndex, 'settleRequest' | 'send'>,
  ) {}

  /**
   * Asks again what was not answered, and resolves with whether there was anything. To be called
   * before anything is concluded from what is known: an answer uses it up.
   */
  prepare(): Promise<boolean> {
    return this.#mutex.run(() => this.#askAgain());
  }

  /**
   * Resolves when all is answered. Rejects where a connection or the lease was lost: of each verdict
   * that `settler` was not told of, it is told later; or it is not applied.
   */
  settle(
    verdicts: readonly Verdict[],
    now: number,
    settler: Settler,
  ): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#askAgain();
      for (const batch of batches(verdicts)) {
        if (!settler.isFresh()) throw new Error('listening was lost');
        const request = this.index.settleRequest(batch, now);
        await this.#ask({ request, settler });
      }
    });
  }

  async #askAgain(): Promise<boolean> {
    const asked = this.#unanswered;
    if (!asked) return false;
    if (asked.settler.isFresh()) await this.#ask(asked);
    else await this.#forget(asked);
    return true;
  }

  async #ask(asked: Asked): Promise<void> {
    const { request, settler } = asked;
    const isLate = this.#unanswered === asked;
    this.#unanswered = asked;
    const applied = await this.index.send(request).catch((error: unknown) => {
      if (isRefused(error, isLate)) this.#unanswered = undefined;
      throw error;
    });
    this.#unanswered = undefined;
    settler.onAnswer(request.verdicts, applied, isLate);
  }

  /** A newer request keeps it from being done later. */
  async #forget({ request, settler }: Asked): Promise<void> {
    await this.index.send(this.index.settleRequest([], 0));
    this.#unanswered = undefined;
    settler.onForgotten(request.verdicts);
  }
}
