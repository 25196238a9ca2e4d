import type { OnKeyExpiringOptions } from '../dispatch/handler-options.js';
import { resolveExpiringOptions } from '../engine/options.js';
import { checkPattern, decorateHandler } from './handler-metadata.js';

/**
 * Runs the method when a key that matches the pattern is about to expire: when its time left falls to `before`. Once for
 * each deadline that is approached, so a key that is renewed in time is not told of, and one that is renewed afterwards and left again is
 * told of again. Of a key that never has more than `before` left, nothing is told. The method gets one argument, a
 * `KeyExpiringEvent`; all else is as with `@OnKeyExpired`, and both may be stacked on one method.
 *
 * @param pattern as of `@OnKeyExpired`
 * @throws RedisExpiryError `INVALID_PATTERN`, `INVALID_HANDLER`, `INVALID_OPTION_…`, when the class is defined
 *
 * @example
 * ```ts
 * @OnKeyExpiring('session:*', { before: 300_000 })
 * async warn({ key, remaining }: KeyExpiringEvent) {
 *   await this.sessions.warn(key, `signed out in ${Math.round(remaining / 1_000)} s`);
 * }
 * ```
 */
export function OnKeyExpiring(
  pattern: string,
  options: OnKeyExpiringOptions,
): MethodDecorator {
  checkPattern(pattern);
  resolveExpiringOptions(options);
  return decorateHandler('OnKeyExpiring', {
    ...{ kind: 'expiring', pattern, options },
  });
}
