import { isDenied } from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { AliveCheck } from '../dispatch/dispatcher.js';
import type { KeyDeadline } from '../dispatch/superseded.js';
import { sleep } from '../util/sleep.js';
import type { Log } from '../util/log.js';

/** Ms before keys are asked for again that a server could not answer for. */
const RETRY_DELAY_MS = 100;

/** Whoever asks the servers. A key that may not be asked for is told to `onDenied`. */
export interface KeyAnswers {
  /** Resolves with the indexes of the keys that exist. */
  alive(
    keys: readonly Buffer[],
    onDenied: (error: unknown) => void,
  ): Promise<ReadonlySet<number>>;
  /** Resolves with when each key runs out. */
  deadlines(
    keys: readonly Buffer[],
    onDenied: (error: unknown) => void,
  ): Promise<readonly KeyDeadline[]>;
}

/**
 * Asks Redis how keys are, until it answers: an event is not handed over while that is
 * unknown. A key that the ACL does not let the module ask for counts as gone where it is about an expiry, and as not
 * renewed where it is about a warning; a log line says so once.
 * The `Dispatcher` asks it before it runs handlers.
 */
export class KeyCheck implements AliveCheck {
  #warned = false;

  constructor(
    private readonly answers: KeyAnswers,
    private readonly log: Log,
    /** As `AliveCheck.placeOf`. */
    readonly placeOf: (key: Buffer) => string = () => '',
  ) {}

  alive(keys: readonly Buffer[]): Promise<ReadonlySet<number>> {
    return this.#untilAnswered<ReadonlySet<number>>(
      () => this.answers.alive(keys, (error) => this.#warn('EXISTS', error)),
      (error) => {
        this.#warn('EXISTS', error);
        return new Set();
      },
    );
  }

  deadlines(keys: readonly Buffer[]): Promise<readonly KeyDeadline[]> {
    return this.#untilAnswered<readonly KeyDeadline[]>(
      () => this.answers.deadlines(keys, (error) => this.#warn('PTTL', error)),
      (error) => {
        this.#warn('PTTL', error);
        return keys.map(() => 'unknown');
      },
    );
  }

  /** `denied`: what to say where the server will not answer, however often it is asked. */
  async #untilAnswered<T>(
    ask: () => Promise<T>,
    denied: (error: unknown) => T,
  ): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof RedisExpiryError && error.code === 'CLOSED')
          throw error;
        if (isDenied(error)) return denied(error);
        await sleep(RETRY_DELAY_MS);
      }
    }
  }

  #warn(command: string, error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    this.log.warn(
      `Redis does not let the module look whether a key was written again (${reasonOf(error)}): ` +
        `handlers may run for keys that are alive. Grant ${command} on the keys`,
    );
  }
}
