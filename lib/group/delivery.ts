import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Dispatcher, OnEnd, Outcome } from '../handlers/dispatcher.js';
import type { Expiry, RetryPolicy } from '../handlers/expiry.js';
import type { Turns } from '../turns.js';
import { within } from '../within.js';
import type { Entry, Leftover } from './event-stream.js';
import type { NamedHandler, OwnHandlers } from './own-handlers.js';
import { RunCounts } from './run-counts.js';
import { HandlerRun, type RunLedger } from './run-ledger.js';
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
  readonly ledger: RunLedger;
  /** Last tries of events over which processes died. */
  readonly lastTries: Turns;
}

/** Ms for which a last try keeps the next one from beginning: a handler that is slow is no killer. */
const LAST_TRY_MS = 1_000;

/** Characters of an error that are kept with a dead letter. */
const MAX_ERROR_LENGTH = 2_000;

/** Ms before what this instance has no handler for is offered again, to whoever takes it. */
const PASSING_ON = 50;

/** How one handler's part of an entry ended. */
interface Part extends NamedHandler {
  readonly outcome: Outcome;
  readonly error?: unknown;
  /** Tries that were made, this one included if it was one. */
  readonly tries: number;
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
  const parts = await Promise.all(
    handlers.map((handler) => run(handler, key, entry, context)),
  );
  if (parts.length === 0) return unhandled(entry, key, context);
  return leftover(parts, entry, context);
}

/** No handler of this instance is for it; one of another instance may be, during a deploy: that is no try of it. */
function unhandled(
  { event, runs }: Entry,
  key: Buffer,
  { wantedElsewhere }: DeliveryContext,
): Leftover {
  const payload = toPayload({ ...event, runs });
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
  key: Buffer,
  entry: Entry,
  context: DeliveryContext,
): Promise<Part> {
  const { id, handler } = named;
  const { attempts } = handler.retry ?? context.retry;
  const begun = entry.runs.of(id);
  const tries = entry.event.tries + begun;
  // Its process died over every one of them, as far as anybody knows: not tried once more.
  if (begun > 0 && tries >= attempts) {
    const error = `given up after ${tries} tries: the instance that made the last one was gone before its handler ended`;
    return Promise.resolve({ ...named, outcome: 'failed', error, tries });
  }
  const attempt = tries + 1;
  const isAlone = begun > 0 && attempt >= attempts;
  const part = () => offer(named, key, entry, { tries, isAlone }, context);
  return isAlone ? inTurn(context.lastTries, part) : part();
}

/**
 * What begins together is noted together, and a handler that kills its process at once takes the others
 * with it: they were noted, and never ran. So last tries begin one after the other. Whatever is given
 * up after that was run, and its process did not die over a neighbour.
 */
function inTurn(turns: Turns, part: () => Promise<Part>): Promise<Part> {
  return new Promise((resolve, reject) => {
    void turns.take(async () => {
      const ended = part();
      ended.then(resolve, reject);
      await within(LAST_TRY_MS, ended);
    });
  });
}

function offer(
  named: NamedHandler,
  key: Buffer,
  entry: Entry,
  { tries, isAlone }: { tries: number; isAlone: boolean },
  context: DeliveryContext,
): Promise<Part> {
  const attempt = tries + 1;
  return new Promise((resolve) => {
    const ended: OnEnd = (outcome, error) =>
      resolve({
        ...named,
        outcome,
        error,
        // What was dropped was not begun, and is no try.
        tries: outcome === 'dropped' ? tries : attempt,
      });
    context.dispatcher.offer(
      named.handler,
      expiryOf(entry.event, key, attempt, context),
      new HandlerRun(context.ledger, entry, named, isAlone, ended),
    );
  });
}

function expiryOf(
  event: StoredEvent,
  key: Buffer,
  attempt: number,
  { database, group }: DeliveryContext,
): Expiry {
  return {
    redisKey: event.redisKey,
    key,
    database,
    source: event.source,
    group,
    id: eventId(event),
    attempt,
    ...(event.deadline !== undefined && {
      deadline: new Date(event.deadline),
      lateness: Math.max(0, event.detected - event.deadline),
    }),
  };
}

/** What a user throws may hold a whole response, or worse. */
const short = (text: string): string =>
  text.length > MAX_ERROR_LENGTH
    ? `${text.slice(0, MAX_ERROR_LENGTH)}… (${text.length} characters)`
    : text;

function leftover(
  parts: readonly Part[],
  { event }: Entry,
  context: DeliveryContext,
): Leftover | undefined {
  const retries: { delay: number; payload: string }[] = [];
  const dead: { payload: string; error: string }[] = [];
  for (const { id, handler, outcome, error, tries } of parts) {
    if (outcome !== 'dropped' && outcome !== 'failed') continue;
    const policy = handler.retry ?? context.retry;
    const payload = toPayload({
      ...event,
      handler: id,
      tries,
      runs: RunCounts.none,
    });
    // What was dropped is for another instance, at once.
    if (outcome === 'dropped') retries.push({ delay: 0, payload });
    else if (tries >= policy.attempts)
      dead.push({ payload, error: short(reasonOf(error)) });
    else retries.push({ delay: policy.delay(tries), payload });
  }
  return retries.length + dead.length > 0 ? { retries, dead } : undefined;
}
