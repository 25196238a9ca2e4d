import type { KeyExpiredEvent } from './key-expired-event.js';

/**
 * What a handler of `@OnKeyExpiring` is given: a key that lives, and whose time left has fallen to `before`. Its
 * `deadline` is the one that is approached, and always known. `lateness` is that of the warning: ms from when the time left
 * fell to `before` to when that was noticed. `value` is that of the living key, `valueAge` ms before the deadline. `source` is `'recovery'` where it fell while nobody listened.
 */
export interface KeyExpiringEvent<
  Value = unknown,
> extends KeyExpiredEvent<Value> {
  /** When the key's time to live runs out, by Redis's clock. */
  readonly deadline: Date;
  /** Milliseconds from when the time left fell to `before` to when that was noticed. */
  readonly lateness: number;
  /**
   * Milliseconds that were left when the warning was made: `before`, less `lateness`. A handler that had to wait, and a later try,
   * is told the same.
   */
  readonly remaining: number;
}
