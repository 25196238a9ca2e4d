import type { Dispatcher } from '../dispatch/dispatcher.js';
import type { OnEnd } from '../dispatch/run-gate.js';
import type { Expiry, RetryPolicy } from '../dispatch/expiry.js';
import type { Mutex } from '../util/mutex.js';
import { within } from '../util/within.js';
import type { Entry, Leftover, Wait } from './stream-entry.js';
import { endOfGrace } from './grace.js';
import { type Part, leftover, waitsOf } from './leftover.js';
import type { NamedHandler, OwnHandlers } from './own-handlers.js';
import type { HandlerRegistry } from './handler-registry.js';
import { passing, scattered } from './passing.js';
import { type Route, routeOf } from './routing.js';
import type { RoutingReport } from './routing-report.js';
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

/** Where an entry goes; see `routeOf`. Never rejects. */
export const routeFor = (
  { event }: Entry,
  { prefixLength, handlers, registry }: DeliveryContext,
): Promise<Route> =>
  routeOf(event, event.redisKey.subarray(prefixLength), handlers, registry);

/**
 * Hands an entry to every handler of this instance that it is for, each on its own: what fails is tried
 * again for that handler alone, and where a handler has a grace the event waits in Redis for it alone. What other
 * instances have the handler for is passed on. Resolves when all have ended, with what is left to do; undefined if
 * nothing is.
 */
export async function deliver(
  entry: Entry,
  route: Route,
  context: DeliveryContext,
  onSetAside: (waits: readonly Wait[]) => void,
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
  const waits = waitsOf(entry, route);
  const ready = readyOf(entry, route.handlers, waits);
  // Those that run may take their time.
  const isSetAside =
    waits.length > 0 &&
    ready.length > 0 &&
    (await context.ledger.setAside(entry, waits));
  if (isSetAside) onSetAside(waits);
  const parts = await Promise.all(
    ready.map((handler) => run(handler, key, entry, context)),
  );
  return leftover(parts, isSetAside ? [] : waits, route, entry, context);
}

/** The handlers that are to run now: the event waits for none of them. */
function readyOf(
  { runs }: Entry,
  handlers: readonly NamedHandler[],
  waits: readonly Wait[],
): readonly NamedHandler[] {
  // The common case.
  if (waits.length === 0 && runs.isEmpty) return handlers;
  const waiting = new Set(waits.map(({ id }) => id));
  return handlers.filter(({ id }) => !waiting.has(id) && !runs.isSetAside(id));
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
  return {
    retries: [{ delay: scattered(delay), payload }],
    waits: [],
    dead: [],
  };
}

function giveUp(
  { event, runs }: Entry,
  error: string,
  { report }: DeliveryContext,
): Leftover {
  report.unhandled(event, error);
  const payload = toPayload({ ...event, runs, passes: 0 });
  return { retries: [], waits: [], dead: [{ payload, error }] };
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
      {
        ...expiryOf(entry.event, key, attempt, context),
        ...(endOfGrace(entry.event, handler) !== undefined && {
          isAfterGrace: true,
        }),
      },
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
