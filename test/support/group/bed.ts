import type { Redis } from 'ioredis';
import { type TestContext, expect } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { eventually } from '../eventually.js';
import { type FaultBed, bedOf } from '../faults/bed.js';
import type { CompiledLibrary } from '../faults/child-app.js';
import type { RedisServer } from '../redis/redis-server.mjs';
import { type CheckOptions, History, NOTHING, TrackedKeys } from './history.js';
import { Fleet, type WorkerOptions } from './workers.js';

type ServerOptions = NonNullable<Parameters<typeof RedisServer.start>[0]>;

export const GROUP = 'presence';

/** A server, a group's processes, and the history of what was done to keys and what became of it. */
export class GroupBed {
  readonly history = new History();
  readonly keys: TrackedKeys;

  private constructor(
    readonly bed: FaultBed,
    readonly server: RedisServer,
    readonly redis: Redis,
    private readonly library: CompiledLibrary,
  ) {
    this.keys = new TrackedKeys(redis, this.history);
  }

  static async make(
    context: TestContext,
    library: CompiledLibrary,
    server: ServerOptions = {},
  ): Promise<GroupBed> {
    const bed = bedOf(context);
    const started = await bed.server(server);
    return new GroupBed(bed, started, bed.admin(started), library);
  }

  /** Processes of the group; none runs yet. */
  fleet(
    module: RedisExpiryModuleOptions = {},
    more: Omit<WorkerOptions, 'module'> = {},
  ): Fleet {
    const options = { connection: this.server.url, group: GROUP, ...module };
    return new Fleet(this.bed, this.library, this.history, {
      // All keys of these tests, and none of the group's own: `knows` counts them.
      pattern: '[^r]*',
      ...more,
      module: options,
    });
  }

  /** How many keys the group knows the deadline of. */
  tracked(): Promise<number> {
    return this.redis.zcard(`rx:{${GROUP}}:index`);
  }

  async knows(count: number, timeout = 10_000): Promise<void> {
    await eventually(async () => expect(await this.tracked()).toBe(count), {
      timeout,
    });
  }

  /**
   * Resolves when every expiry was handled and the group has nothing left to do; rejects if that
   * takes too long, and in any case if something was handled that should not have been.
   */
  async settles(options: CheckOptions = {}, timeout = 20_000): Promise<void> {
    const { redis, history } = this;
    await eventually(
      async () => {
        const { missing } = history.check(options);
        expect(missing.slice(0, 5), `${missing.length} are missing`).toEqual(
          [],
        );
        const now = Date.now();
        // A false event of a key that was deleted would come at its deadline.
        expect(now).toBeGreaterThan(history.lastDeadline + 100);
        const left = {
          events: await redis.xlen(`rx:{${GROUP}}:events`),
          retry: await redis.zcard(`rx:{${GROUP}}:retry`),
          due: await redis.zcount(`rx:{${GROUP}}:index`, '-inf', now - 5),
        };
        expect(left).toEqual({ events: 0, retry: 0, due: 0 });
      },
      { timeout },
    );
    expect(await redis.xlen(`rx:{${GROUP}}:dead`)).toBe(0);
    const findings = history.check(options);
    const found = Object.fromEntries(
      Object.entries(findings).map(([name, all]) => [name, all.slice(0, 5)]),
    );
    expect({ found, counts: countsOf(findings) }).toEqual({
      found: NOTHING,
      counts: countsOf(NOTHING),
    });
  }
}

const countsOf = (findings: object): object =>
  Object.fromEntries(
    Object.entries(findings).map(([name, all]) => [
      name,
      (all as string[]).length,
    ]),
  );

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
