import type { KeyExpiringEvent } from '../dispatch/key-expiring-event.js';
import { keyExpiredEvent } from './key-expired-event.js';

/** Ms that are left where a test does not say. */
const REMAINING_MS = 60_000;

/**
 * A complete event of a warning, for a plain unit test that calls a handler itself. What is not given is as for a key whose time
 * left fell to a minute just now; `deadline` follows from `remaining`, and `remaining` from `deadline`. All else is as of `keyExpiredEvent`.
 *
 * @example
 * ```ts
 * await service.warn(keyExpiringEvent('session:42', { pattern: 'session:*', remaining: 300_000 }));
 * ```
 */
export function keyExpiringEvent(
  key: string,
  given: Partial<Omit<KeyExpiringEvent, 'key'>> = {},
): KeyExpiringEvent {
  const now = Date.now();
  const untilDeadline = given.deadline && given.deadline.getTime() - now;
  const remaining = given.remaining ?? untilDeadline ?? REMAINING_MS;
  const deadline = given.deadline ?? new Date(now + remaining);
  return {
    ...keyExpiredEvent(key, {
      ...given,
      deadline,
      ...(given.group !== undefined && {
        id: `${key}@${deadline.getTime()}-${remaining}`,
      }),
    }),
    ...{ deadline, remaining, lateness: 0 },
    ...given,
  };
}
