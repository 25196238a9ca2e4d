import {
  isFenced,
  isForbidden,
  isWriteRefused,
} from '../connection/server-error.js';

/** Something to be done in Redis once, however often it is sent. */
export interface Request {
  /**
   * Sends it under a number, by which Redis knows it again, and takes note of the answer. `isLate`: it
   * was sent before, so Redis may have done it some time ago.
   */
  send(number: number, isLate: boolean): Promise<void>;
  /** Whether what it goes by still counts. */
  isFresh(): boolean;
}

/**
 * The way by which one leader's requests to settle keys reach Redis, one at a time. `Sweep` sends
 * through it. The script on the other side notes the newest number with its answer: the same number
 * again gets the same answer, and a lower one is refused.
 *
 * States:
 * - clear (at first): the next request may be sent.
 * - unanswered, when a connection was lost before the answer came: Redis may have done the request, may
 *   do it in a moment, or may never have seen it. `clear` sends it again under its number; or, where
 *   what the request goes by does not count any more, sends a fence. An answer leads back to clear.
 *
 * Guarantees: Redis does each request once at most. A request is never followed by another while it is
 * open whether it is still to be done.
 */
export class RequestChannel {
  #unanswered: { request: Request; number: number } | undefined;

  /**
   * @param term numbers its requests; the numbers rise
   * @param fence sends a request that does nothing, after which Redis refuses those with lower numbers
   */
  constructor(
    private readonly term: { nextRequest(): number },
    private readonly fence: (number: number) => Promise<unknown>,
  ) {}

  /** Settles what became of the request that was not answered, if there is one. Rejects where that fails. */
  async clear(): Promise<void> {
    const open = this.#unanswered;
    if (!open) return;
    if (open.request.isFresh()) {
      await this.#send(open.request, open.number, true);
      return;
    }
    // A fence that Redis refuses, because it is out of memory for example, fences nothing: it is tried again.
    await this.fence(this.term.nextRequest());
    this.#unanswered = undefined;
  }

  /** Sends a request; to be called after `clear`, and not before the one before it has ended. Rejects as the connection does. */
  async send(request: Request): Promise<void> {
    if (this.#unanswered) throw new Error('a request is still unanswered');
    await this.#send(request, this.term.nextRequest(), false);
  }

  async #send(
    request: Request,
    number: number,
    isLate: boolean,
  ): Promise<void> {
    this.#unanswered = { request, number };
    try {
      await request.send(number, isLate);
    } catch (error) {
      // Another error need not be the answer to this: a connection is dropped with what ended it.
      if (isRefused(error, isLate)) this.#unanswered = undefined;
      throw error;
    }
    this.#unanswered = undefined;
  }
}

/**
 * Whether Redis did not do a request, and never will, by what it says. A script of which the first write
 * is refused has written nothing. Of a request that was sent before, only a lost lease or a newer
 * request says so: the first sending may still be on its way, by the connection that was lost.
 */
export function isRefused(error: unknown, isLate: boolean): boolean {
  if (isFenced(error)) return true;
  return !isLate && (isForbidden(error) || isWriteRefused(error));
}
