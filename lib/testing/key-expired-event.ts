import { RedisGlob } from '../dispatch/redis-glob.js';
import type { KeyExpiredEvent } from '../dispatch/key-expired-event.js';

/**
 * A complete event, for a plain unit test that calls a handler itself. What is not given is as for a key that
 * expired just now, in database 0, and was announced at once; `captures` are those of the given `pattern`,
 * which is the key itself if it is left out. `value` is what the handler is to see, in its own form. With `group`, `id` is what the group would give it.
 *
 * @example
 * ```ts
 * await service.onOffline(keyExpiredEvent('device:42', { pattern: 'device:*' }));
 * ```
 */
export function keyExpiredEvent<Value = unknown>(
  key: string,
  given: Partial<Omit<KeyExpiredEvent<Value>, 'key'>> = {},
): KeyExpiredEvent<Value> {
  const keyBuffer = given.keyBuffer ?? Buffer.from(key);
  const pattern = given.pattern ?? key.replace(/[*?[\\]/g, String.raw`\$&`);
  const deadline = given.deadline ?? new Date();
  return {
    ...{ key, keyBuffer, pattern, deadline },
    captures: new RedisGlob(pattern).captures(keyBuffer) ?? [],
    database: 0,
    lateness: 0,
    source: 'notification',
    attempt: 1,
    signal: new AbortController().signal,
    ...(given.group !== undefined && { id: `${key}@${deadline.getTime()}` }),
    ...given,
  };
}
