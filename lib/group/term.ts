import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import { isReplyError } from '../connection/server-error.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';
import type { WriteRefusals } from './write-refusals.js';

/** A request that Redis does once, however often it is sent, as long as no newer one of its kind was sent. */
export interface OnceRequest {
  /** The token of the term in which it was made. */
  readonly token: string;
  readonly number: number;
}

type Work<T> = (redis: Redis) => Promise<T>;

/**
 * One term of leadership: from taking the lease to losing it or giving it back. A term owns its
 * fencing token. Whatever belongs to the term sends its commands through it, so that no part of a
 * term can act under the token of the next one.
 *
 * States: it lasts (at first) → `end` → it has ended.
 *
 * Guarantees: once the term has ended, nothing more is sent, commands that were waiting in the process
 * included, and whatever still waits for an answer rejects. What Redis was sent before cannot be taken
 * back: it carries the old token, by which Redis refuses to settle anything.
 */
export class Term {
  readonly #life = new Lifetime();
  #requests = 0;

  /**
   * @param token the lease's: no other term, of any instance, has the same
   * @param refusals sees what is refused over the term's connections
   */
  constructor(
    readonly token: string,
    private readonly refusals?: WriteRefusals,
  ) {}

  get hasEnded(): boolean {
    return this.#life.ended !== undefined;
  }

  end(): void {
    this.#life.end(
      // With a code of the module's own nothing takes it for a failed connection, after which to try again.
      new RedisExpiryError('CLOSED', 'This instance leads the group no more.'),
    );
  }

  /** The next request of this term. */
  request(): OnceRequest {
    return { token: this.token, number: ++this.#requests };
  }

  /** The same connection, as long as the term lasts. */
  commands(connection: Commands): Commands {
    const commands = this.refusals?.watch(connection) ?? connection;
    const whileItLasts =
      <T>(work: Work<T>): Work<T> =>
      (redis) =>
        this.#life.ended ? Promise.reject(this.#life.ended) : work(redis);
    const isOver = (): boolean => this.hasEnded;
    const guard = <T>(work: Promise<T>): Promise<T> => this.#life.guard(work);
    return {
      get connected() {
        return !isOver() && commands.connected;
      },
      run: (work) => guard(commands.run(whileItLasts(work))),
      runNow: async (work) => {
        // A command that is sent while the connection is made would be done at some later time.
        if (!isOver() && !commands.connected)
          await guard(commands.runNow(ping));
        return guard(commands.runNow(whileItLasts(work)));
      },
    };
  }
}

/** Resolves once the server answers, whatever it says. */
const ping: Work<unknown> = (redis) =>
  redis.ping().catch((error: unknown) => {
    if (!isReplyError(error)) throw error;
  });
