import type { ExpiryHandler } from '../dispatch/expiry.js';
import type { NamedHandler } from './own-handlers.js';
import type { StoredEvent } from './stored-event.js';
import type { Entry } from './stream-entry.js';

/**
 * When the grace of a handler is over for an event, in epoch ms by Redis's clock. Undefined where the handler has
 * none, or where it had the event before and failed: grace comes before the first try only.
 */
export function endOfGrace(
  { deadline, detected, tries }: StoredEvent,
  { grace }: Pick<ExpiryHandler, 'grace'>,
): number | undefined {
  if (grace === undefined || tries > 0) return undefined;
  return (deadline ?? detected) + grace;
}

/**
 * Until when an event is to wait for the grace of a handler; undefined where it is not. An expiry that was found long
 * after its deadline does not wait, nor one that has waited as long as the handler says now.
 */
export function waitsUntil(
  { event, runs }: Entry,
  { id, handler }: NamedHandler,
): number | undefined {
  const end = endOfGrace(event, handler);
  if (end === undefined || event.detected >= end) return undefined;
  // A run that began shows that the grace was over.
  const hasWaited =
    (event.waited ?? 0) >= handler.grace! ||
    runs.isSetAside(id) ||
    runs.of(id) > 0;
  return hasWaited ? undefined : end;
}
