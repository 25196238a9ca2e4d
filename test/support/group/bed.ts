import type { Redis } from 'ioredis';
import type { TestContext } from 'vitest';
import { type FaultBed, bedOf } from '../faults/bed.js';
import type { RedisServer } from '../redis/redis-server.mjs';
import { GroupScene } from './scene.js';

export { GROUP } from './scene.js';

type ServerOptions = NonNullable<Parameters<typeof RedisServer.start>[0]>;

/** A scene on a server of its own. */
export class GroupBed extends GroupScene {
  private constructor(
    bed: FaultBed,
    readonly server: RedisServer,
    override readonly redis: Redis,
  ) {
    super(bed, redis, server.url);
  }

  static async make(
    context: TestContext,
    server: ServerOptions = {},
  ): Promise<GroupBed> {
    const bed = bedOf(context);
    const started = await bed.server(server);
    return new GroupBed(bed, started, bed.admin(started));
  }
}

/** Deadlines from so many ms to so many ms from now, evenly spread. */
export function spread(
  keys: readonly string[],
  from: number,
  to: number,
): [string, number][] {
  const now = Date.now();
  return keys.map((key, i) => [
    key,
    Math.round(now + from + ((to - from) * i) / keys.length),
  ]);
}
