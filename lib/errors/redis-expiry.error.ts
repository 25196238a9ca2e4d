/**
 * What went wrong, as a stable string to branch on.
 *
 * - `INVALID_OPTION_<NAME>`: an option has a value that is not accepted.
 * - `INVALID_PATTERN`: a pattern is not a usable Redis glob.
 * - `INVALID_HANDLER`: what was to be called is not a function.
 * - `CONNECT_FAILED`: Redis was not reached within `connectTimeout`, or refused the login.
 * - `NOTIFICATIONS_MISSING`: `notifications: 'verify'` and the server does not announce expiries.
 * - `SUBSCRIPTION_REFUSED`: the server's ACL forbids the channel, or the server has no PSUBSCRIBE.
 * - `GROUP_REFUSED`: the server cannot carry a group: a replica, too old, or commands or permissions are missing.
 * - `NO_GROUP`: keys were to be armed, and neither the call nor the module names a group.
 * - `KEYS_REFUSED`: the server refuses to write a key, or to note its deadline; nothing of it was done.
 * - `CONNECTION_LOST`: the connection was lost before Redis answered; the call may or may not have taken effect.
 * - `HANDLER_TIMEOUT`: a handler did not settle within its option `timeout`.
 * - `NO_HANDLER`: in the test kit, a key was to expire that no handler's pattern matches.
 * - `CLOSED`: the module was shut down.
 *
 * `<NAME>` is the option in capitals: `shutdownTimeout` gives `INVALID_OPTION_SHUTDOWN_TIMEOUT`.
 */
export type RedisExpiryErrorCode =
  | `INVALID_OPTION_${string}`
  | 'INVALID_PATTERN'
  | 'INVALID_HANDLER'
  | 'CONNECT_FAILED'
  | 'NOTIFICATIONS_MISSING'
  | 'SUBSCRIPTION_REFUSED'
  | 'GROUP_REFUSED'
  | 'NO_GROUP'
  | 'KEYS_REFUSED'
  | 'CONNECTION_LOST'
  | 'HANDLER_TIMEOUT'
  | 'NO_HANDLER'
  | 'CLOSED';

/** Every error that the module itself raises. `cause` holds the client's or server's error, if any. */
export class RedisExpiryError extends Error {
  override readonly name = 'RedisExpiryError';

  constructor(
    /** Stable; messages may be reworded, codes are not. */
    readonly code: RedisExpiryErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const capitals = (option: string): string =>
  option
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll(/[. ]/g, '_')
    .toUpperCase();

/** A URL, or what was meant to be one, without its passwords. */
const withoutSecrets = (text: string): string =>
  text
    .replace(/^(\w+:\/\/)?([^:/?#@]*):.*@/s, '$1$2:***@')
    .replace(/(password=|auth=)[^&]*/gi, '$1***');

/** A text in which somebody else says something, without the passwords of URLs and settings in it. */
export const withoutPasswords = (text: string): string =>
  text
    .replace(/(\w+:\/\/[^\s:/?#@]*):\S*@/g, '$1:***@')
    .replace(
      /((?:password|passwd|pwd|secret)["']?\s*[=:]\s*["']?|\b(?:auth|token)=)[^\s"'&,;})]+/gi,
      '$1***',
    );

/** A value as it may stand in a message: short, and without secrets. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') {
    const clean = withoutSecrets(value);
    return JSON.stringify(
      clean.length > 80 ? `${clean.slice(0, 77)}...` : clean,
    );
  }
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value);
    return keys.length === 0 ? '{}' : `{ ${keys.slice(0, 6).join(', ')} }`;
  }
  return String(value);
}

/** The error for an option whose value is not accepted. */
export function invalidOption(
  option: string,
  value: unknown,
  accepted: string,
): RedisExpiryError {
  return new RedisExpiryError(
    `INVALID_OPTION_${capitals(option)}`,
    `Option "${option}" is ${describeValue(value)}; accepted: ${accepted}.`,
  );
}

/**
 * The error for a pattern whose channels the server refuses, with its words.
 *
 * @param missing the command, in capitals, that the server does not have, if that is why
 */
export const subscriptionRefused = (
  address: string,
  pattern: string,
  reason: string,
  missing?: string,
): RedisExpiryError =>
  new RedisExpiryError(
    'SUBSCRIPTION_REFUSED',
    `${address} refuses the subscription to ${JSON.stringify(pattern)}: ${reason}. ` +
      (missing === undefined
        ? 'Grant the user the channels by ACL, or use another pattern.'
        : `Expiries cannot be heard without ${missing}: use the option "group", which goes on without it, or a server that has it.`),
  );

/** The text of anything thrown, for a log line or a message. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
