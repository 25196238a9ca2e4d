import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import type { OnEnd, Outcome } from '../dispatch/run-gate.js';
import type { Expiry, RetryPolicy } from '../dispatch/expiry.js';
import type { Mutex } from '../util/mutex.js';
import { within } from '../util/within.js';
import type { Entry, Leftover } from './stream-entry.js';
import type { NamedHandler, OwnHandlers } from './own-handlers.js';
import type { HandlerRegistry } from './handler-registry.js';
import { passing, scattered } from './passing.js';
import { type Route, routeOf } from './routing.js';
import type { RoutingReport } from './routing-report.js';
import { RunCounts } from './run-counts.js';
import { HandlerRun, type RunLedger } from './run-ledger.js';
import {
  type StoredEvent,
  eventId,
  latenessOf,
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
  /** Who has which handlers in the whole group. */
  readonly registry: HandlerRegistry;
  readonly report: RoutingReport;
  readonly dispatcher: Dispatcher;
  readonly ledger: RunLedger;
  /** Last tries of events over which processes died. */
  readonly lastTries: Mutex;
  /** Handlers of this instance are about to run it. */
  readonly onRun: (entry: Entry) => void;
}

/** Ms for which a last try keeps the next one from beginning: a handler that is slow is no killer. */
const LAST_TRY_MS = 1_000;

/** Characters of an error that are kept with a dead letter. */
const MAX_ERROR_LENGTH = 2_000;

/** How one handler's part of an entry ended. */
interface Part extends NamedHandler {
  readonly outcome: Outcome;
  readonly error?: unknown;
  /** Tries that were made, this one included if it was one. */
  readonly tries: number;
}

/** Where an entry goes; see `routeOf`. Never rejects. */
export const routeFor = (
  { event }: Entry,
  { prefixLength, handlers, registry }: DeliveryContext,
): Promise<Route> =>
  routeOf(event, event.redisKey.subarray(prefixLength), handlers, registry);

/**
 * Hands an entry to every handler of this instance that it is for, each on its own: what fails is tried
 * again for that handler alone. What other instances have the handler for is passed on. Resolves when all
 * have ended, with what is left to do; undefined if nothing is.
 */
export async function deliver(
  entry: Entry,
  route: Route,
  context: DeliveryContext,
): Promise<Leftover | undefined> {
  const { event } = entry;
  const key = event.redisKey.subarray(context.prefixLength);
  if (route.to === 'elsewhere') return passOn(entry, route.isAway, context);
  if (route.to === 'nowhere') return giveUp(entry, route.error, context);
  if (route.to === 'nobody') {
    context.report.overtaken(event, route.insteadOf);
    return undefined;
  }
  if (route.insteadOf !== undefined) {
    const ids = [...route.handlers.map(({ id }) => id), ...route.others];
    context.report.substituted(event, route.insteadOf, ids);
  }
  if (route.handlers.length > 0) context.onRun(entry);
  const parts = await Promise.all(
    route.handlers.map((handler) => run(handler, key, entry, context)),
  );
  return leftover(parts, route.others, entry, context);
}

/** It is for others to run: that is no try of it. */
function passOn(
  { event, runs }: Entry,
  isAway: boolean,
  { registry, report }: DeliveryContext,
): Leftover {
  const { passes } = event;
  const { delay, isLongest } = passing(passes, registry.instances, isAway);
  report.passedOn(event, isLongest && !isAway);
  const payload = toPayload({ ...event, runs, passes: passes + 1 });
  return { retries: [{ delay: scattered(delay), payload }], dead: [] };
}

function giveUp(
  { event, runs }: Entry,
  error: string,
  { report }: DeliveryContext,
): Leftover {
  report.unhandled(event, error);
  const payload = toPayload({ ...event, runs, passes: 0 });
  return { retries: [], dead: [{ payload, error }] };
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
function inTurn(mutex: Mutex, part: () => Promise<Part>): Promise<Part> {
  return new Promise((resolve, reject) => {
    void mutex.run(async () => {
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
    const { id, handler } = named;
    const ended: OnEnd = (outcome, error) =>
      // Named one by one: to spread objects took a twentieth of the time of a drain.
      resolve({
        id,
        handler,
        outcome,
        error,
        // What was dropped was not begun, and is no try.
        tries: outcome === 'dropped' ? tries : attempt,
      });
    context.dispatcher.offer(
      handler,
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
    ...(event.value && { value: event.value }),
    ...(event.deadline !== undefined && {
      deadline: new Date(event.deadline),
      lateness: latenessOf(event),
      before: event.before,
    }),
  };
}

/** What a user throws may hold a whole response, or worse. */
const short = (text: string): string =>
  text.length > MAX_ERROR_LENGTH
    ? `${text.slice(0, MAX_ERROR_LENGTH)}… (${text.length} characters)`
    : text;

/** `others`: handlers of other instances that get it as well. */
function leftover(
  parts: readonly Part[],
  others: readonly string[],
  { event, runs }: Entry,
  context: DeliveryContext,
): Leftover | undefined {
  const retries: { delay: number; payload: string }[] = [];
  const dead: { payload: string; error: string }[] = [];
  // Whoever was not dropped has had it, or has a try of its own to come.
  const taken = new Set([...(event.taken ?? []), ...others]);
  for (const { id, outcome } of parts) if (outcome !== 'dropped') taken.add(id);
  const payloadFor = (id: string, tries: number): string =>
    toPayload({
      ...event,
      handler: id,
      tries,
      passes: 0,
      runs: RunCounts.none,
      taken: [...taken].filter((other) => other !== id),
    });
  for (const id of others)
    retries.push({
      delay: passing(0, context.registry.instances, false).delay,
      payload: payloadFor(id, event.tries + runs.of(id)),
    });
  for (const { id, handler, outcome, error, tries } of parts) {
    if (outcome !== 'dropped' && outcome !== 'failed') continue;
    const policy = handler.retry ?? context.retry;
    const payload = payloadFor(id, tries);
    // What was dropped is for another instance, at once.
    if (outcome === 'dropped') retries.push({ delay: 0, payload });
    else if (tries >= policy.attempts)
      dead.push({ payload, error: short(reasonOf(error)) });
    else retries.push({ delay: policy.delay(tries), payload });
  }
  return retries.length + dead.length > 0 ? { retries, dead } : undefined;
}
