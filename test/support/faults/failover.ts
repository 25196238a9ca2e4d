import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { RedisServer } from '../redis/redis-server.mjs';
import { type FaultBed, eventually } from './bed.js';

/** A primary and its replica, which can change places under the connections of both. */
export class Pair {
  private constructor(
    readonly first: RedisServer,
    readonly second: RedisServer,
    readonly firstAdmin: Redis,
    readonly secondAdmin: Redis,
  ) {}

  /** Resolves when the new replica has all that the primary has. */
  static async of(bed: FaultBed, first: RedisServer): Promise<Pair> {
    const second = await bed.server({
      args: ['--replicaof', `127.0.0.1 ${first.port}`],
    });
    const pair = new Pair(first, second, bed.admin(first), bed.admin(second));
    await follows(pair.secondAdmin);
    return pair;
  }

  /** The replica becomes the primary, and the primary its replica. Nothing that was written is lost, and no connection closed. */
  async swap(): Promise<void> {
    const { firstAdmin, secondAdmin, second } = this;
    await firstAdmin.call('FAILOVER', 'TO', '127.0.0.1', second.port);
    await eventually(async () => {
      expect(await roleOf(secondAdmin)).toBe('master');
      expect(await roleOf(firstAdmin)).toBe('slave');
    });
    await follows(firstAdmin);
  }
}

export async function roleOf(redis: Redis): Promise<string | undefined> {
  const info = await redis.info('replication');
  return /^role:(\w+)/m.exec(info)?.[1];
}

const follows = (replica: Redis): Promise<void> =>
  eventually(async () => {
    expect(await replica.info('replication')).toContain(
      'master_link_status:up',
    );
  });
