import type { RedisExpiryModuleOptions } from './module-options.js';

/**
 * Whether two modules listen for the same keys in the same role, as far as their options tell: whether they
 * have the same connection, group and namespace. A handler that belonged to both would run twice for one
 * expiry. Functions in the options, such as a `retryStrategy`, do not count.
 */
export function isSamePlace(
  one: RedisExpiryModuleOptions,
  other: RedisExpiryModuleOptions,
): boolean {
  return (
    one.group === other.group &&
    (one.namespace ?? 'rx') === (other.namespace ?? 'rx') &&
    isSameConnection(one.connection, other.connection)
  );
}

function isSameConnection(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  // Where a function or a client of the user's leads cannot be compared.
  const comparable = [one, other].every(
    (connection) =>
      typeof connection !== 'function' &&
      typeof (connection as { duplicate?: unknown })?.duplicate !== 'function',
  );
  return comparable && JSON.stringify(one) === JSON.stringify(other);
}
