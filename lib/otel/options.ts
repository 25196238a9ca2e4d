import { invalidOption } from '../errors/redis-expiry.error.js';

/** Options of `openTelemetry()`. */
export interface OpenTelemetryOptions {
  /**
   * Whether spans tell the key, as `redis_expiry.key`. Keys may name people, and each is another value of an attribute. No
   * metric has the key in any case.
   * @default false
   */
  keys?: boolean;
}

/** @throws RedisExpiryError `INVALID_OPTION_…` */
export function checkOtelOptions(
  given: OpenTelemetryOptions,
): OpenTelemetryOptions {
  if (typeof given !== 'object' || given === null)
    throw invalidOption('openTelemetry', given, 'an object');
  for (const [name, value] of Object.entries(given))
    if (name !== 'keys')
      throw invalidOption(name, value, 'no such option; keys');
  const { keys } = given;
  if (keys !== undefined && typeof keys !== 'boolean')
    throw invalidOption('keys', keys, 'true or false');
  return given;
}
