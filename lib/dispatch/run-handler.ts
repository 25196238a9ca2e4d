import { isObservable, lastValueFrom } from 'rxjs';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { type Expiry, type ExpiryHandler, toEvent } from './expiry.js';

/**
 * Calls a handler for the `Dispatcher`, and reports once how it ended: without an error, or with what it threw.
 * A throw or a rejection is logged with the handler's name, the pattern and the key, and goes no further. A
 * handler that returns nothing to wait for is done at once, so that a trivial one costs no promise.
 */
export function runHandler(
  handler: ExpiryHandler,
  expiry: Expiry,
  log: Log,
  onEnd: (error?: { readonly thrown: unknown }) => void,
): void {
  const fail = (error: unknown): void => {
    log.error(
      `${handler.name} failed on key ${JSON.stringify(expiry.key.toString())} ` +
        `(pattern ${JSON.stringify(handler.glob.pattern)}): ${reasonOf(error)}`,
      error instanceof Error ? error.stack : undefined,
    );
    onEnd({ thrown: error });
  };
  let pending: PromiseLike<unknown> | undefined;
  try {
    pending = pendingWork(handler.invoke(toEvent(expiry, handler)));
  } catch (error) {
    fail(error);
    return;
  }
  // A thenable of the user's may throw, or settle twice; a promise settles once.
  if (pending) Promise.resolve(pending).then(() => onEnd(), fail);
  else onEnd();
}

function pendingWork(result: unknown): PromiseLike<unknown> | undefined {
  if (isObservable(result))
    return lastValueFrom(result, { defaultValue: undefined });
  const thenable = result as PromiseLike<unknown> | null | undefined;
  return typeof thenable?.then === 'function' ? thenable : undefined;
}
