import { isObservable } from 'rxjs';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { Scheduler } from '../util/scheduler.js';
import type { CallEnd } from './call-end.js';
import { type Expiry, type ExpiryHandler, toEvent } from './expiry.js';
import type { KeyExpiredEvent } from './key-expired-event.js';
import type { ObservedTry } from './observed-try.js';

/** Handlers of which a warning said that a value is not in their form. */
const warned = new WeakSet<ExpiryHandler>();

/** What a handler returned, and what of it is to be waited for. */
type Called = [result: unknown, pending: PromiseLike<unknown> | undefined];

/**
 * One call of a handler for one expiry. The `Dispatcher` makes it, starts it, and gives it up where it must.
 *
 * States:
 * - *new* (at first): leaves by `start`, which calls the handler.
 * - *running*: leaves when the handler has returned and what it returned has settled, with the handler's
 *   error if there is one; or after the handler's `timeout`, which counts as an error.
 * - *ended*: it was told once how it ended. What the handler does later is of no account, and a late
 *   rejection is nobody's.
 *
 * Guarantees: a throw or a rejection is logged with the handler's name, the pattern and the key, and goes no
 * further. A handler that returns nothing to wait for is done when `start` returns, also with telemetry around it, and
 * without that such a one costs no promise. The event's signal is made when it is asked for first, because that costs
 * more than all else of a trivial run.
 */
export class HandlerCall {
  /** By `performance.now()`. */
  readonly begunAt = performance.now();
  #hasEnded = false;
  #cancelTimeout: (() => void) | undefined;
  #controller: AbortController | undefined;
  /** Why it was given up. */
  #reason: Error | undefined;

  constructor(
    readonly handler: ExpiryHandler,
    readonly expiry: Expiry,
    private readonly time: Scheduler,
    private readonly log: Log,
    private readonly onEnd: (end: CallEnd) => void,
    /** Telemetry around it. */
    private readonly observed?: ObservedTry,
  ) {}

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** What the event's `signal` is: it is aborted when the run is given up. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** Calls the handler. */
  start(): void {
    let pending: PromiseLike<unknown> | undefined;
    let result: unknown;
    try {
      const event = toEvent(this.expiry, this.handler, this);
      [result, pending] = this.observed
        ? this.#observe(event, this.observed)
        : this.#invoke(event);
    } catch (error) {
      this.#fail(error);
      return;
    }
    // From here on it is out of the asynchronous context of telemetry, where what follows has no business.
    if (!pending) {
      this.#end({ result });
      return;
    }
    const { timeout } = this.handler;
    if (timeout !== undefined)
      this.#cancelTimeout = this.time.after(timeout, () =>
        this.#expire(timeout),
      );
    // A thenable of the user's may throw, or settle twice; a promise settles once.
    Promise.resolve(pending).then(
      (value: unknown) => this.#end({ result: value }),
      (error: unknown) => this.#fail(error),
    );
  }

  /** For `toEvent`: a warning, once for each handler. */
  unreadable(reason: string): void {
    const { handler, expiry, log } = this;
    if (warned.has(handler)) return;
    warned.add(handler);
    log.warn(
      `${handler.name} asks for values as JSON, and that of ${JSON.stringify(expiry.key.toString())} is none (${reason}): ` +
        'event.value is undefined then, and event.valueText is the text',
    );
  }

  #observe(event: KeyExpiredEvent, observed: ObservedTry): Called {
    const { name, glob, before } = this.handler;
    const tried = {
      ...{ name, pattern: glob.pattern },
      ...(before !== undefined && { before }),
    };
    return observed.call(event, tried, () => this.#invoke(event));
  }

  #invoke(event: KeyExpiredEvent): Called {
    const result = this.handler.invoke(event);
    return [result, this.#pendingWork(result)];
  }

  /** Aborts the event's signal; the run goes on until the handler ends it. */
  abort(reason: Error): void {
    if (this.#reason || this.#hasEnded) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  #expire(timeout: number): void {
    const error = new RedisExpiryError(
      'HANDLER_TIMEOUT',
      `it did not settle within ${timeout} ms (timeout), so this try has failed and event.signal is aborted`,
    );
    // First the end: what a listener of the signal does must not count any more.
    this.#reason = error;
    this.#fail(error);
    this.#controller?.abort(error);
  }

  #fail(error: unknown): void {
    if (this.#hasEnded) return;
    const { name, glob } = this.handler;
    this.log.error(
      `${name} failed on key ${JSON.stringify(this.expiry.key.toString())} ` +
        `(pattern ${JSON.stringify(glob.pattern)}): ${reasonOf(error)}`,
      error instanceof Error ? error.stack : undefined,
    );
    this.#end({ thrown: error });
  }

  #end(end: CallEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#cancelTimeout?.();
    this.observed?.end(end);
    this.onEnd(end);
  }

  /** What is to be waited for; undefined where there is nothing. An Observable is left when the run is given up. */
  #pendingWork(result: unknown): PromiseLike<unknown> | undefined {
    if (isObservable(result))
      return new Promise((resolve, reject) => {
        let last: unknown;
        const subscription = result.subscribe({
          next: (value) => (last = value),
          error: reject,
          complete: () => resolve(last),
        });
        if (subscription.closed) return;
        const { signal } = this;
        const leave = (): void => {
          subscription.unsubscribe();
          reject(signal.reason as Error);
        };
        if (signal.aborted) leave();
        else signal.addEventListener('abort', leave, { once: true });
      });
    const thenable = result as PromiseLike<unknown> | null | undefined;
    return typeof thenable?.then === 'function' ? thenable : undefined;
  }
}
