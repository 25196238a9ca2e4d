import { RedisExpiryError, reasonOf } from './errors/redis-expiry.error.js';
import type { Log } from './log.js';
import { within } from './within.js';

export interface StartupOptions {
  /** Nobody waits for Redis at start. */
  readonly lazyConnect: boolean;
  /** Ms within which Redis must be reached. */
  readonly connectTimeout: number;
  readonly retryDelay: (attempt: number) => number;
  /** Why Redis was not reached, as far as is known. */
  readonly reasons: () => readonly string[];
  /** Nothing of a start that failed may stay behind. */
  readonly onFailed: () => void;
  readonly log: Log;
}

/**
 * Something that is started once and must reach Redis in time: rejects with `CONNECT_FAILED` after
 * `connectTimeout`, or with what the work itself rejects with. With `lazyConnect` it resolves at
 * once, and what goes wrong is logged and tried again: the work must bear to be begun anew. That
 * Redis is not reached is logged after `connectTimeout`.
 */
export class Startup {
  #begun: Promise<void> | undefined;
  #endWarning: (() => void) | undefined;

  constructor(
    private readonly work: () => Promise<void>,
    private readonly options: StartupOptions,
  ) {}

  get begun(): boolean {
    return this.#begun !== undefined;
  }

  run(): Promise<void> {
    this.#begun ??= this.#run();
    return this.#begun;
  }

  /** Says nothing more. The work is ended by whoever does it. */
  close(): void {
    this.#endWarning?.();
  }

  async #run(): Promise<void> {
    const { lazyConnect, connectTimeout, onFailed } = this.options;
    if (lazyConnect) {
      void this.#untilItWorks();
      return;
    }
    const work = this.work();
    try {
      if (!(await within(connectTimeout, work))) throw this.#notConnected();
    } catch (error) {
      onFailed();
      if (error instanceof RedisExpiryError) throw error;
      throw new RedisExpiryError(
        'CONNECT_FAILED',
        `Redis was not reached: ${reasonOf(error)}`,
        { cause: error },
      );
    }
  }

  /** Nobody waits: what goes wrong is logged, and tried again. */
  async #untilItWorks(): Promise<void> {
    const { retryDelay, log } = this.options;
    for (let failures = 1; ; failures++) {
      this.#endWarning = this.#warnWhileNotReached();
      try {
        await this.work().finally(this.#endWarning);
        return;
      } catch (error) {
        if (error instanceof RedisExpiryError && error.code === 'CLOSED')
          return;
        log.error(`Starting failed, and is tried again: ${reasonOf(error)}`);
        const ms = Math.max(1_000, retryDelay(failures));
        await new Promise((resolve) => setTimeout(resolve, ms).unref());
      }
    }
  }

  /** Says after `connectTimeout`, once for each reason, that it is not there yet. Returns how to end that. */
  #warnWhileNotReached(): () => void {
    const { connectTimeout, log } = this.options;
    const warned = new Set<string>();
    const timer = setInterval(() => {
      const reasons = this.#reasons();
      if (reasons === '' || warned.has(reasons)) return;
      warned.add(reasons);
      log.warn(`Redis is not reached yet, and is tried again: ${reasons}`);
    }, connectTimeout).unref();
    return () => clearInterval(timer);
  }

  #reasons(): string {
    return [...new Set(this.options.reasons())].join('; ');
  }

  #notConnected(): RedisExpiryError {
    const { connectTimeout } = this.options;
    return new RedisExpiryError(
      'CONNECT_FAILED',
      `Redis was not reached within ${connectTimeout} ms (connectTimeout): ${this.#reasons() || 'no node answered'}. ` +
        'Check the option "connection", or set lazyConnect in it so that start-up does not wait.',
    );
  }
}
