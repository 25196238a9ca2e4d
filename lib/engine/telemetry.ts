import type { TriedHandler } from '../dispatch/observed-try.js';
import type { KeyExpiredEvent } from '../dispatch/key-expired-event.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { RedisExpiryStatus } from './status.js';

/**
 * The option `telemetry`: what observes the module from outside. `openTelemetry()` of `nestjs-redis-expiry/otel` makes one.
 * Whatever it does, it changes nothing of how an event is handled.
 */
export interface ExpiryTelemetry {
  /**
   * Is around each try of a handler. It must call `run` once, before it returns, and return what `run` returns. `run` calls
   * the handler, in the asynchronous context of this call, and its promise settles as the try ends: with what came of what
   * the handler returned, with the handler's error, or with `HANDLER_TIMEOUT`.
   *
   * - Where it has not called `run` when it returns, or throws before, the handler is called without it.
   * - A second call of `run` returns the same promise, and the handler is not called again.
   * - The try ends as the handler does. What this returns is not waited for, and its own errors are logged, once a minute
   *   at most.
   *
   * Events whose handler does not run (superseded, came back, dropped) are not seen here: `status().counters` counts them.
   */
  process?<T>(
    event: KeyExpiredEvent,
    handler: TriedHandler,
    run: () => Promise<T>,
  ): Promise<T>;
  /**
   * Is called once, when the application has started. `read` is `RedisExpirySubscriber.status()`. Returns what ends it, which is
   * called at shutdown, when handlers in flight have ended. What either throws is logged.
   */
  observe?(read: () => RedisExpiryStatus): () => void;
}

/**
 * The part of `telemetry` that observes the whole of one engine. The Nest module has one.
 *
 * States: *new* (at first) → *observing* (after `begin`) → *ended* (after `end`), for good, from each of them.
 *
 * Guarantees: `observe` and what it returned are called once at most, and nothing that they throw goes further.
 */
export class Observation {
  #state: 'new' | 'observing' | 'ended' = 'new';
  #end: unknown;

  constructor(
    private readonly telemetry: Pick<ExpiryTelemetry, 'observe'> | undefined,
    private readonly log: Log,
  ) {}

  begin(read: () => RedisExpiryStatus): void {
    if (this.#state !== 'new') return;
    this.#state = 'observing';
    this.#guarded('telemetry.observe', () => {
      this.#end = this.telemetry?.observe?.(read);
    });
  }

  end(): void {
    const end = this.#end;
    this.#state = 'ended';
    this.#end = undefined;
    if (typeof end === 'function')
      this.#guarded('What telemetry.observe returned', () => end() as unknown);
  }

  /** What is asynchronous against the types is none the less no unhandled rejection. */
  #guarded(what: string, work: () => unknown): void {
    const fail = (error: unknown): void =>
      this.log.error(
        `${what} failed: ${reasonOf(error)}`,
        error instanceof Error ? error.stack : undefined,
      );
    try {
      Promise.resolve(work()).catch(fail);
    } catch (error) {
      fail(error);
    }
  }
}
