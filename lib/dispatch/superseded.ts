import { type Expiry, renewedBy } from './expiry.js';

/** What is asked of keys before handlers run. */
export interface KeyStates {
  /** Resolves with the indexes of the keys that exist. Rejects only once it was closed. */
  alive(keys: readonly Buffer[]): Promise<ReadonlySet<number>>;
  /** Resolves with when each key runs out, in epoch ms by Redis's clock. Rejects only once it was closed. */
  deadlines(keys: readonly Buffer[]): Promise<readonly KeyDeadline[]>;
}

/** When a key runs out; `'never'`, `'gone'`, or `'unknown'` where it may not be asked for. */
export type KeyDeadline = number | 'never' | 'gone' | 'unknown';

/**
 * Resolves with the indexes of the events whose time has passed: expiries whose key lives again, and warnings whose key
 * is gone or has another deadline than the one that was warned of.
 */
export async function supersededOf(
  events: readonly Expiry[],
  keys: KeyStates,
): Promise<ReadonlySet<number>> {
  const indexes = [...events.keys()];
  const expiries = indexes.filter((i) => events[i]!.before === undefined);
  const warnings = indexes.filter((i) => events[i]!.before !== undefined);
  const keysOf = (some: readonly number[]): Buffer[] =>
    some.map((i) => events[i]!.redisKey);
  const [alive, deadlines] = await Promise.all([
    expiries.length > 0 ? keys.alive(keysOf(expiries)) : new Set<number>(),
    warnings.length > 0 ? keys.deadlines(keysOf(warnings)) : [],
  ]);
  return new Set([
    ...expiries.filter((_, i) => alive.has(i)),
    ...warnings.filter((event, i) => isOver(events[event]!, deadlines[i]!)),
  ]);
}

function isOver({ deadline, before }: Expiry, now: KeyDeadline): boolean {
  if (now === 'unknown') return false;
  if (typeof now !== 'number') return true;
  return Math.abs(now - deadline!.getTime()) > renewedBy(before!);
}
