import type { OnKeyExpiredOptions } from '../dispatch/handler-options.js';
import { resolveHandlerOptions } from '../engine/options.js';
import { checkPattern, decorateHandler } from './handler-metadata.js';

/**
 * Runs the method when a key that matches the pattern expires. The method gets one argument, a
 * `KeyExpiredEvent`; a promise or an Observable that it returns is awaited, and what it throws is
 * logged. May be stacked.
 *
 * @param pattern a Redis glob: `*` any text, `?` one byte, `[a-c]` and `[^x]` a byte of a set,
 *   `\*` the character itself. Without the connection's `keyPrefix`.
 * @throws RedisExpiryError `INVALID_PATTERN`, `INVALID_HANDLER`, `INVALID_OPTION_…`, when the class is defined
 *
 * @example
 * ```ts
 * @OnKeyExpired('device:*')
 * async onOffline({ key, deadline }: KeyExpiredEvent) {
 *   await this.devices.markOffline(key, deadline);
 * }
 * ```
 */
export function OnKeyExpired(
  pattern: string,
  options: OnKeyExpiredOptions = {},
): MethodDecorator {
  checkPattern(pattern);
  resolveHandlerOptions(options);
  return decorateHandler('OnKeyExpired', { kind: 'expired', pattern, options });
}
