import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { sleep } from '../util/sleep.js';
import { within } from '../util/within.js';

export interface StartupOptions {
  /** The application's own start does not wait for Redis. */
  readonly lazyConnect: boolean;
  /** Ms within which Redis must be reached, unless `lazyConnect` is set. */
  readonly connectTimeout: number;
  readonly retryDelay: (attempt: number) => number;
  readonly log: Log;
}

/** Something that needs Redis before it works: broadcast, or the membership in a group. */
export interface Startable {
  /** Why it does not work yet, in words. */
  readonly reasons: readonly string[];
  /** Starts it. It may be called again after it rejected, or after `undo`. */
  start(): Promise<void>;
  /**
   * Removes all traces of a start that failed, or that nobody needs any more. Another start may begin from
   * the moment of the call on. Never rejects.
   */
  undo(): Promise<void>;
}

/** Ms before a start that failed is tried again at least. */
const RETRY_DELAY_MS = 1_000;

/**
 * Starts something that must reach Redis before it works, for all who need it. `Broadcast` and each
 * `Membership` have one.
 *
 * States:
 * - *idle* (at first): nobody needs it. Leaves by `run` or `keep`.
 * - *starting*: one start is under way, and everybody who asks meanwhile shares it. Leaves into *started*, or
 *   by a failure, which is undone, back into *idle*, so that the next `run` begins anew.
 * - *started*: `run` resolves at once. Leaves by `release` into *idle*, unless `keep` was called: then the
 *   application itself needs it, and nothing is undone any more.
 * - *closed* (after `close`): nothing is tried or said any more.
 *
 * Guarantees: one start is under way at a time. It rejects with what the work rejects with, or with `CONNECT_FAILED` after `connectTimeout`. With `lazyConnect`
 * it waits for Redis as long as it takes, and says every `connectTimeout` why it still waits.
 */
export class Startup {
  #attempt: Promise<void> | undefined;
  #kept = false;
  readonly #closing = new AbortController();
  #endWarning: (() => void) | undefined;

  constructor(
    private readonly subject: Startable,
    private readonly options: StartupOptions,
  ) {}

  /** Whether a start is under way or done. */
  get begun(): boolean {
    return this.#attempt !== undefined;
  }

  /** Starts it for one caller. Resolves once it works. */
  run(): Promise<void> {
    this.#attempt ??= this.#start();
    return this.#attempt;
  }

  /**
   * Starts it for the application itself. Resolves once it works and `then` is done. With `lazyConnect` it
   * resolves at once, and both are tried in the background until they succeed: a failure is logged.
   */
  async keep(then: () => Promise<void>): Promise<void> {
    this.#kept = true;
    const work = async (): Promise<void> => {
      await this.run();
      await then();
    };
    if (this.options.lazyConnect) void this.#untilItWorks(work);
    else await work();
  }

  /** Nobody who called `run` needs it any more, so the start is undone, unless the application itself needs it. */
  async release(): Promise<void> {
    if (this.#kept || this.#closing.signal.aborted) return;
    this.#attempt = undefined;
    await this.subject.undo();
  }

  /** Tries nothing more and logs nothing more. The owner of the subject closes that. */
  close(): void {
    this.#closing.abort();
    this.#endWarning?.();
  }

  async #start(): Promise<void> {
    try {
      await (this.options.lazyConnect ? this.#patiently() : this.#inTime());
    } catch (error) {
      this.#attempt = undefined;
      await this.release();
      if (error instanceof RedisExpiryError) throw error;
      throw new RedisExpiryError(
        'CONNECT_FAILED',
        `Redis was not reached: ${reasonOf(error)}`,
        { cause: error },
      );
    }
  }

  async #inTime(): Promise<void> {
    const { connectTimeout } = this.options;
    if (!(await within(connectTimeout, this.subject.start())))
      throw this.#notConnected();
  }

  /** Says after `connectTimeout`, once for each reason, that Redis is not there yet. */
  async #patiently(): Promise<void> {
    const { connectTimeout, log } = this.options;
    const warned = new Set<string>();
    const timer = setInterval(() => {
      const reasons = this.#reasons();
      if (reasons === '' || warned.has(reasons)) return;
      warned.add(reasons);
      log.warn(
        `Redis is not reached yet, and is tried again; no expiry is handled until then: ${reasons}`,
      );
    }, connectTimeout).unref();
    this.#endWarning = () => clearInterval(timer);
    try {
      await this.subject.start();
    } finally {
      clearInterval(timer);
    }
  }

  async #untilItWorks(work: () => Promise<void>): Promise<void> {
    const { retryDelay, log } = this.options;
    const { signal } = this.#closing;
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await work();
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.error(
          `Starting failed, and is tried again; no expiry is handled until it works: ${reasonOf(error)}`,
        );
        const ms = Math.max(RETRY_DELAY_MS, retryDelay(failures));
        await sleep(ms, { ref: false, signal });
      }
    }
  }

  #reasons(): string {
    return [...new Set(this.subject.reasons)].join('; ');
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
