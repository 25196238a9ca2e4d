import type { Redis } from 'ioredis';
import { isDenied, refusedCommand } from '../connection/server-error.js';
import type { KeyDeadline } from '../dispatch/superseded.js';

/** Clients whose server does not tell deadlines (Redis 6.2), or whose ACL user may not ask for them. */
const withoutDeadlines = new WeakSet<Redis>();

/** Asks a server when a key runs out. Rejects with the server's error. The first command is about the key. */
export async function deadlineOf(
  redis: Redis,
  key: Buffer,
): Promise<KeyDeadline> {
  if (!withoutDeadlines.has(redis)) {
    try {
      return meaningOf(await redis.pexpiretime(key), 0);
    } catch (error) {
      // It is the command that cannot be had, whatever the key.
      if (!isDenied(error) || !refusedCommand(error)) throw error;
      withoutDeadlines.add(redis);
    }
  }
  const [ttl, time] = await Promise.all([
    redis.pttl(key),
    redis.time().catch(() => undefined),
  ]);
  return meaningOf(ttl, time ? epochMs(time) : Date.now());
}

/** The client's typing says numbers; the server sends texts. */
function epochMs(time: readonly unknown[]): number {
  const [seconds, micros] = time.map(Number);
  return seconds! * 1_000 + Math.floor(micros! / 1_000);
}

function meaningOf(ttl: number, since: number): KeyDeadline {
  if (ttl >= 0) return since + ttl;
  return ttl === -1 ? 'never' : 'gone';
}
