import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import { isReplyError } from '../connection/server-error.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';

type Work<T> = (redis: Redis) => Promise<T>;

/**
 * The fence around one leader's term: it owns the fencing token, numbers the requests, and keeps
 * everything that belongs to the term from sending anything once the term has ended. `LeaderTerm` has
 * one, and hands out connections through it, so that no part of a term can act under the token of the
 * next one.
 *
 * States: lasting (at first) → `end` → ended.
 *
 * Guarantees: once the term has ended, nothing more is sent, commands that were waiting in the process
 * included, and whatever still waits for an answer rejects. What Redis was sent before cannot be taken
 * back: it carries the old token, by which Redis refuses to settle anything.
 */
export class TermFence {
  readonly #life = new Lifetime();
  #requests = 0;

  /** @param token the lease's: no other term, of any instance, has the same */
  constructor(readonly token: string) {}

  get hasEnded(): boolean {
    return this.#life.ended !== undefined;
  }

  end(): void {
    this.#life.end(
      // With a code of the module's own nothing takes it for a failed connection, after which to try again.
      new RedisExpiryError('CLOSED', 'This instance leads the group no more.'),
    );
  }

  /** The number of the term's next request: each is higher than the one before. See `RequestChannel`. */
  nextRequest(): number {
    return ++this.#requests;
  }

  /** The same connection, as long as the term lasts. */
  commands(commands: Commands): Commands {
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

/** Resolves once the server answers, whatever it says: one that cannot save to disk refuses `PING`, too. */
export const ping: Work<unknown> = (redis) =>
  redis.ping().catch((error: unknown) => {
    if (!isReplyError(error)) throw error;
  });
