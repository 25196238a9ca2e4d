import type { Expiry, ExpiryHandler, RetryPolicy } from '../dispatch/expiry.js';
import type { GraceWaits } from '../dispatch/grace-waits.js';
import { type DeadLetter, letterValue } from '../group/dead-letters.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { GroupStatus } from '../group/consumer-group.js';

/** A try that failed, of an event of a group. */
export interface FailedTry {
  readonly handler: ExpiryHandler;
  readonly expiry: Expiry;
  readonly attempt: number;
  readonly error: unknown;
}

/** What was given up, and how its last try ended. */
interface GivenUp {
  readonly letter: DeadLetter;
  readonly failed: FailedTry;
}

/**
 * A group in the test kit: which tries are to be made again, and what was given up. It stands for what a
 * group keeps in Redis, so it outlives no process. `MemoryEngine` has one for each group.
 */
export class MemoryGroup {
  /** How many wait for their next try. */
  retrying = 0;
  readonly #givenUp: GivenUp[] = [];
  #numbered = 0;

  /**
   * @param waits where expiries wait for the grace of their handlers
   * @param redrive is given what a dead letter was, to be tried as if for the first time
   */
  constructor(
    readonly name: string,
    readonly waits: GraceWaits,
    private readonly redrive: (failed: FailedTry) => void,
  ) {}

  get status(): GroupStatus {
    const backlog = {
      waiting: 0,
      pending: 0,
      retrying: this.retrying,
      inGrace: this.waits.size,
      dead: this.#givenUp.length,
      deadLettersDropped: 0,
      leaders: 0,
      tracked: 0,
    };
    return {
      group: this.name,
      leads: true,
      nodes: [],
      partitions: [],
      ...backlog,
    };
  }

  /** Ms until the next try; undefined where that was the last one, and there is a dead letter now. */
  failed(
    failed: FailedTry,
    policy: RetryPolicy,
    now: number,
  ): number | undefined {
    if (failed.attempt < policy.attempts) return policy.delay(failed.attempt);
    const { expiry, handler, attempt, error } = failed;
    const letter: DeadLetter = {
      id: `${this.name}/${now}-${this.#numbered++}`,
      group: this.name,
      key: expiry.key.toString(),
      keyBuffer: expiry.key,
      eventId: expiry.id!,
      handler: `${handler.name} ${handler.glob.pattern}`,
      ...(expiry.deadline && { deadline: expiry.deadline }),
      ...(expiry.before !== undefined && { before: expiry.before }),
      ...letterValue(expiry.value),
      attempts: attempt,
      error: reasonOf(error),
      at: new Date(now),
    };
    this.#givenUp.push({ letter, failed });
    return undefined;
  }

  readonly letters = {
    list: (count: number, after?: string): Promise<DeadLetter[]> => {
      const letters = this.#givenUp.map(({ letter }) => letter);
      const from = letters.findIndex(({ id }) => id === after) + 1;
      return Promise.resolve(letters.slice(from, from + count));
    },
    redrive: (id: string): Promise<boolean> => {
      const given = this.#take(id);
      if (given) this.redrive(given.failed);
      return Promise.resolve(given !== undefined);
    },
    discard: (id: string): Promise<boolean> =>
      Promise.resolve(this.#take(id) !== undefined),
  };

  #take(id: string): GivenUp | undefined {
    const index = this.#givenUp.findIndex(({ letter }) => letter.id === id);
    return index < 0 ? undefined : this.#givenUp.splice(index, 1)[0];
  }
}
