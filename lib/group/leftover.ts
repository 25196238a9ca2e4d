import type { RetryPolicy } from '../dispatch/expiry.js';
import type { Outcome } from '../dispatch/run-gate.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { waitsUntil } from './grace.js';
import type { NamedHandler } from './own-handlers.js';
import { passing } from './passing.js';
import type { Route } from './routing.js';
import { RunCounts } from './run-counts.js';
import { toPayload } from './stored-event.js';
import type { Entry, Leftover, Wait } from './stream-entry.js';

/** Characters of an error that are kept with a dead letter. */
const MAX_ERROR_LENGTH = 2_000;

/** How one handler's part of an entry ended. */
export interface Part extends NamedHandler {
  readonly outcome: Outcome;
  readonly error?: unknown;
  /** Tries that were made, this one included if it was one. */
  readonly tries: number;
}

/** To whom an entry goes. */
type Recipients = Extract<Route, { to: 'here' }>;

/** What is left takes of the group's options, and of the instances that there are. */
export interface LeftoverContext {
  readonly retry: RetryPolicy;
  readonly registry: { readonly instances: number };
}

/** The handlers of an entry for whose grace its event is to wait. */
export function waitsOf(entry: Entry, route: Recipients): Wait[] {
  const { event } = entry;
  return route.handlers.flatMap((named) => {
    const { id, handler } = named;
    const due = waitsUntil(entry, named);
    if (due === undefined) return [];
    const payload = toPayload({
      ...event,
      handler: id,
      passes: 0,
      runs: RunCounts.none,
      taken: othersThan(id, recipientsOf(entry, route)),
      waited: handler.grace!,
    });
    return [{ id, due, payload }];
  });
}

/**
 * What is left to do of an entry whose parts have ended: others get it, what failed is tried again or given up, and
 * what waits does so from now on. Undefined where nothing is.
 */
export function leftover(
  parts: readonly Part[],
  waits: readonly Wait[],
  route: Recipients,
  entry: Entry,
  context: LeftoverContext,
): Leftover | undefined {
  const { event, runs } = entry;
  const retries: { delay: number; payload: string }[] = [];
  const dead: { payload: string; error: string }[] = [];
  // Whoever was not dropped has had it, or has a try of its own to come.
  const taken = recipientsOf(entry, route);
  for (const { id, outcome } of parts)
    if (outcome === 'dropped') taken.delete(id);
  const payloadFor = (id: string, tries: number): string =>
    toPayload({
      ...event,
      handler: id,
      tries,
      passes: 0,
      runs: RunCounts.none,
      taken: othersThan(id, taken),
    });
  for (const id of route.others)
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
  const isNothing = retries.length + waits.length + dead.length === 0;
  return isNothing ? undefined : { retries, waits, dead };
}

/** The ids of all handlers that get the event, or got it before. */
const recipientsOf = (
  { event: { taken = [] } }: Entry,
  { handlers, others }: Recipients,
): Set<string> =>
  new Set([...taken, ...others, ...handlers.map(({ id }) => id)]);

const othersThan = (id: string, ids: Iterable<string>): string[] =>
  [...ids].filter((other) => other !== id);

/** What a user throws may hold a whole response, or worse. */
const short = (text: string): string =>
  text.length > MAX_ERROR_LENGTH
    ? `${text.slice(0, MAX_ERROR_LENGTH)}… (${text.length} characters)`
    : text;
