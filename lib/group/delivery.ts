import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Dispatcher, Outcome } from '../handlers/dispatcher.js';
import type { Expiry, RetryPolicy } from '../handlers/expiry.js';
import type { Entry, Leftover } from './event-stream.js';
import type { NamedHandler, OwnHandlers } from './own-handlers.js';
import {
  NOT_READABLE,
  type StoredEvent,
  eventId,
  toPayload,
} from './stored-event.js';

/** What delivering takes; the same for every entry of a group. */
export interface DeliveryContext {
  readonly group: string;
  readonly database: number;
  /** Length of the `keyPrefix`, in bytes. */
  readonly prefixLength: number;
  readonly retry: RetryPolicy;
  readonly handlers: OwnHandlers;
  /** Whether another instance of the group has a handler for the key. */
  readonly wantedElsewhere: (key: Buffer) => boolean;
  readonly dispatcher: Dispatcher;
}

/** Ms before what this instance has no handler for is offered again, to whoever takes it. */
const PASSING_ON = 50;

/** How one handler's part of an entry ended. */
interface Part extends NamedHandler {
  readonly outcome: Outcome;
  readonly error?: unknown;
}

/**
 * Hands an entry to every handler of the group that it is for, each on its own: what fails is tried
 * again for that handler alone. Resolves when all have ended, with what is left to do; undefined if
 * nothing is.
 */
export async function deliver(
  entry: Entry,
  context: DeliveryContext,
): Promise<Leftover | undefined> {
  const { event } = entry;
  const key = event.redisKey.subarray(context.prefixLength);
  const handlers = handlersFor(event, key, context.handlers);
  const attempt = event.tries + entry.deliveries;
  const expiry: Expiry = {
    redisKey: event.redisKey,
    key,
    database: context.database,
    source: event.source,
    group: context.group,
    id: eventId(event),
    attempt,
    ...(event.deadline !== undefined && {
      deadline: new Date(event.deadline),
      lateness: Math.max(0, event.detected - event.deadline),
    }),
  };
  const parts = await Promise.all(
    handlers.map((handler) => run(handler, expiry, entry, context)),
  );
  if (parts.length === 0) return unhandled(event, attempt, key, context);
  return leftover(parts, entry, attempt, context);
}

/** No handler of this instance is for it; one of another instance may be, during a deploy: that is no try of it. */
function unhandled(
  event: StoredEvent,
  attempt: number,
  key: Buffer,
  { wantedElsewhere }: DeliveryContext,
): Leftover {
  const payload = toPayload({ ...event, tries: attempt - 1 });
  const isReadable = event.handler !== NOT_READABLE;
  if (isReadable && wantedElsewhere(key))
    return { retries: [{ delay: PASSING_ON, payload }], dead: [] };
  const error = isReadable
    ? 'no instance has a handler for it'
    : 'it cannot be read, and no handler is for it';
  return { retries: [], dead: [{ payload, error }] };
}

/** The handlers of this instance that an event is for. */
function handlersFor(
  { handler: id }: StoredEvent,
  key: Buffer,
  handlers: OwnHandlers,
): NamedHandler[] {
  if (id === undefined) return handlers.matching(key);
  const named = handlers.get(id);
  return named ? [named] : [];
}

function run(
  named: NamedHandler,
  expiry: Expiry,
  { deliveries }: Entry,
  { dispatcher, retry }: DeliveryContext,
): Promise<Part> {
  const { handler } = named;
  const { attempts } = handler.retry ?? retry;
  // Whatever ran it so often died over it: not tried once more.
  if (deliveries > 1 && expiry.attempt! > attempts) {
    const error = `given up after ${attempts} deliveries that nobody ended`;
    return Promise.resolve({ ...named, outcome: 'failed', error });
  }
  return new Promise((resolve) =>
    dispatcher.offer(handler, expiry, (outcome, error) =>
      resolve({ ...named, outcome, error }),
    ),
  );
}

function leftover(
  parts: readonly Part[],
  { event }: Entry,
  attempt: number,
  context: DeliveryContext,
): Leftover | undefined {
  const retries: { delay: number; payload: string }[] = [];
  const dead: { payload: string; error: string }[] = [];
  for (const { id, handler, outcome, error } of parts) {
    const policy = handler.retry ?? context.retry;
    if (outcome === 'dropped') {
      // Not begun: for another instance, and no try of it.
      const payload = toPayload({ ...event, handler: id, tries: attempt - 1 });
      retries.push({ delay: 0, payload });
    } else if (outcome === 'failed') {
      const payload = toPayload({ ...event, handler: id, tries: attempt });
      if (attempt >= policy.attempts)
        dead.push({ payload, error: reasonOf(error) });
      else retries.push({ delay: policy.delay(attempt), payload });
    }
  }
  return retries.length + dead.length > 0 ? { retries, dead } : undefined;
}
