import type { HandlerRegistry } from './handler-registry.js';
import type { NamedHandler, OwnHandlers } from './own-handlers.js';
import { NOT_READABLE, type StoredEvent } from './stored-event.js';

/** What deciding takes of the group's registry. */
export type KnownHandlers = Pick<
  HandlerRegistry,
  'ask' | 'isSettled' | 'hasElsewhere' | 'matchingElsewhere' | 'isExpectedBack'
>;

/** Where an event goes that this instance took. */
export type Route =
  | {
      readonly to: 'here';
      /** Those that run it in this instance. */
      readonly handlers: readonly NamedHandler[];
      /** Ids of other instances' handlers that get it as well, each by an event of its own. */
      readonly others: readonly string[];
      /** Set where it was for a handler that no living instance has. */
      readonly insteadOf?: string;
    }
  /**
   * Another instance has a handler for it, or it cannot be known yet that none has. `isAway`: no instance
   * has one now, but one had until a moment ago, and may be back soon.
   */
  | { readonly to: 'elsewhere'; readonly isAway: boolean }
  /** The handler that it was for lives nowhere, and every other handler that matches got it before. */
  | { readonly to: 'nobody'; readonly insteadOf: string }
  /** No instance of the group has a handler for it. */
  | { readonly to: 'nowhere'; readonly error: string };

/**
 * Decides who handles an event: the handler that it is for, where it is for one, else every handler whose
 * pattern matches its key.
 *
 * | the handler it is for, or one that matches lives   | the event goes                                      |
 * | -------------------------------------------------- | --------------------------------------------------- |
 * | in this instance                                   | to it                                               |
 * | in another instance only                           | on: some instance of those takes it sooner or later |
 * | nowhere, but other handlers match its key          | to each of them, in this instance and in others     |
 * | nowhere, but one that matches its key did just now | on: an instance that left may be restarted          |
 * | nowhere, and all that match its key have had it    | to nobody: it is over                               |
 * | nowhere, and none matches its key                  | nowhere                                             |
 *
 * That a handler lives nowhere is never decided by what was known when the event came: the group is asked.
 *
 * @param key the event's key without its `keyPrefix`
 */
export async function routeOf(
  event: StoredEvent,
  key: Buffer,
  own: OwnHandlers,
  registry: KnownHandlers,
): Promise<Route> {
  if (event.handler === NOT_READABLE)
    return {
      to: 'nowhere',
      error: 'it cannot be read, and no handler is for it',
    };
  const known = knownRoute(event, key, own, registry);
  if (known) return known;
  try {
    await registry.ask();
  } catch {
    // Redis is away, or this instance is being stopped: others may know more.
    return { to: 'elsewhere', isAway: false };
  }
  const route = knownRoute(event, key, own, registry);
  if (route) return route;
  if (!registry.isSettled) return { to: 'elsewhere', isAway: false };
  return routeWithoutHandler(event, key, own, registry);
}

/** To a handler that is known to live. */
function knownRoute(
  { handler: id, before }: StoredEvent,
  key: Buffer,
  own: OwnHandlers,
  registry: KnownHandlers,
): Route | undefined {
  const handlers =
    id === undefined ? own.matching(key, before) : own.withId(id);
  if (handlers.length > 0) return { to: 'here', handlers, others: [] };
  const isElsewhere =
    id === undefined
      ? registry.matchingElsewhere(key, before).size > 0
      : registry.hasElsewhere(id);
  return isElsewhere ? { to: 'elsewhere', isAway: false } : undefined;
}

/** No handler that it is for lives: to all whose pattern matches, if it was renamed or removed. */
function routeWithoutHandler(
  { handler: id, taken, before }: StoredEvent,
  key: Buffer,
  own: OwnHandlers,
  registry: KnownHandlers,
): Route {
  const matching = own.matching(key, before);
  const matchingElsewhere = [...registry.matchingElsewhere(key, before)].filter(
    (other) => !own.has(other),
  );
  const had = new Set(taken);
  const handlers = matching.filter((handler) => !had.has(handler.id));
  const others = matchingElsewhere.filter((other) => !had.has(other));
  if (id !== undefined && handlers.length + others.length > 0)
    return { to: 'here', handlers, others, insteadOf: id };
  if (registry.isExpectedBack(key, before))
    return { to: 'elsewhere', isAway: true };
  if (id !== undefined && matching.length + matchingElsewhere.length > 0)
    return { to: 'nobody', insteadOf: id };
  return { to: 'nowhere', error: 'no instance has a handler for it' };
}
