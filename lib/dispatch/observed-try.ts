import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { CallEnd } from './call-end.js';
import type { KeyExpiredEvent } from './key-expired-event.js';

/** What is told of the handler that a try is of. */
export interface TriedHandler {
  /** `Class.method`; the function's name for a handler that was subscribed by hand. */
  readonly name: string;
  readonly pattern: string;
  /** Only of a handler of warnings: its option `before`, in milliseconds. */
  readonly before?: number;
}

/** The part of the option `telemetry` that is around each try of a handler. `ExpiryTelemetry` says what it must do. */
export interface TryObserver {
  process?<T>(
    event: KeyExpiredEvent,
    handler: TriedHandler,
    run: () => Promise<T>,
  ): Promise<T>;
}

/** Ms between two log lines about an observer that misbehaves. */
const QUIET_MS = 60_000;

/** Logs what goes wrong in an observer: at once, and then once a minute at most, as it may be so for every event. */
export class ObserverErrors {
  #quietUntil = 0;
  #untold = 0;

  constructor(private readonly log: Log) {}

  tell(text: string, error?: unknown): void {
    if (performance.now() < this.#quietUntil) {
      this.#untold++;
      return;
    }
    this.#quietUntil = performance.now() + QUIET_MS;
    const more =
      this.#untold > 0 ? ` (${this.#untold} more since the last)` : '';
    this.#untold = 0;
    this.log.error(
      `telemetry.process ${text}${more}; the handler’s outcome counts all the same`,
      error instanceof Error ? error.stack : undefined,
    );
  }
}

/**
 * One try of a handler inside `telemetry.process`. A `HandlerCall` makes it where there is such a function, and
 * without it a try takes no promise.
 *
 * States:
 * - *new* (at first): `call` calls `process`, and that calls `run`, which calls the handler.
 * - *called*: `call` has returned, with whatever the handler did. What `run` returned has not settled yet.
 * - *ended* (after `end`): what `run` returned settles as the try ended, a `timeout` included.
 *
 * Guarantees, whatever `process` does: the handler is called exactly once, before `call` returns, and the try
 * ends as the handler does. The result of `process` is neither waited for nor looked at, so one that never settles
 * holds up nothing; what it throws of its own is logged.
 */
export class ObservedTry {
  #settle: ((end: CallEnd) => void) | undefined;
  /** What `run` returns. */
  readonly #outcome = new Promise<unknown>((resolve, reject) => {
    this.#settle = (end) =>
      'thrown' in end ? reject(end.thrown) : resolve(end.result);
  });
  #end: CallEnd | undefined;

  constructor(
    private readonly observer: TryObserver,
    private readonly errors: ObserverErrors,
  ) {
    // Nobody may look at it: the failure of a handler is no unhandled rejection.
    this.#outcome.catch(() => undefined);
  }

  /** Has `process` call the handler. Returns what the handler returns, or throws what it throws. */
  call<T>(event: KeyExpiredEvent, handler: TriedHandler, invoke: () => T): T {
    let called: { value: T } | { thrown: unknown } | undefined;
    const run = (): Promise<unknown> => {
      try {
        called ??= { value: invoke() };
      } catch (thrown) {
        called = { thrown };
      }
      return this.#outcome;
    };
    let answer: unknown;
    try {
      answer = this.observer.process!(event, handler, run);
    } catch (error) {
      this.errors.tell(`threw: ${reasonOf(error)}`, error);
    }
    if (!called) {
      this.errors.tell('did not call run before it returned');
      void run();
    }
    this.#watch(answer);
    if ('thrown' in called!) throw called.thrown;
    return called!.value;
  }

  /** The try has ended like this. */
  end(end: CallEnd): void {
    this.#end = end;
    this.#settle?.(end);
  }

  /** Logs what `process` itself fails with: that it hands on the handler's error is how it should be. */
  #watch(answer: unknown): void {
    Promise.resolve(answer).catch((error: unknown) => {
      const end = this.#end;
      if (end && 'thrown' in end && end.thrown === error) return;
      this.errors.tell(`rejected: ${reasonOf(error)}`, error);
    });
  }
}
