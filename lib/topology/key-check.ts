import { isDenied } from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { AliveCheck } from '../dispatch/dispatcher.js';
import { sleep } from '../util/sleep.js';
import type { Log } from '../util/log.js';

/** Ms before keys are asked for again that a server could not answer for. */
const RETRY_DELAY_MS = 100;

/**
 * Asks Redis whether keys exist, until it answers: an event is not handed over while that is
 * unknown. A key that the ACL does not let the module ask for counts as gone, and a warning says so once.
 * The `Dispatcher` asks it before it runs handlers.
 */
export class KeyCheck implements AliveCheck {
  #warned = false;

  constructor(
    /** Resolves with the indexes of the keys that exist. A key that may not be asked for is told to `onDenied`. */
    private readonly ask: (
      keys: readonly Buffer[],
      onDenied: (error: unknown) => void,
    ) => Promise<ReadonlySet<number>>,
    private readonly log: Log,
    /** As `AliveCheck.placeOf`. */
    readonly placeOf: (key: Buffer) => string = () => '',
  ) {}

  async alive(keys: readonly Buffer[]): Promise<ReadonlySet<number>> {
    for (;;) {
      try {
        return await this.ask(keys, (error) => this.#warn(error));
      } catch (error) {
        if (error instanceof RedisExpiryError && error.code === 'CLOSED')
          throw error;
        if (isDenied(error)) {
          this.#warn(error);
          return new Set();
        }
        await sleep(RETRY_DELAY_MS);
      }
    }
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    this.log.warn(
      `Redis does not let the module look whether a key was written again (${reasonOf(error)}): ` +
        'handlers may run for keys that are alive. Grant EXISTS on the keys',
    );
  }
}
