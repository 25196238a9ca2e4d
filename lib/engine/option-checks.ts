import { invalidOption } from '../errors/redis-expiry.error.js';

// Each of these throws `INVALID_OPTION_…` for a value that is not accepted.

/** Node's timers take no longer delay. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Throws for what is no object, and for an option that there is not. `what`: what the object is called. */
export function checkNames(
  given: object,
  known: readonly string[],
  what: string,
): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption(what, given, 'an object');
  for (const [name, value] of Object.entries(given))
    if (!known.includes(name))
      throw invalidOption(name, value, `no such option; ${known.join(', ')}`);
}

/** A whole number from 1 on. */
export function count(name: string, value: unknown, fallback: number): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw invalidOption(name, value, 'a whole number from 1 on');
  return value as number;
}

/** Milliseconds that no timer waits for: they may be more than a timer can wait. */
export function wholeMs(
  name: string,
  value: unknown,
  fallback: number,
): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw invalidOption(name, value, 'whole milliseconds from 1 on');
  return value as number;
}

/** Milliseconds that a timer may wait for. */
export function ms(
  name: string,
  value: unknown,
  fallback: number,
  least: number,
): number {
  if (value === undefined) return fallback;
  if (
    typeof value !== 'number' ||
    !(value >= least && value <= LONGEST_TIMER_MS)
  )
    throw invalidOption(
      name,
      value,
      `milliseconds from ${least} to ${LONGEST_TIMER_MS}`,
    );
  return value;
}
