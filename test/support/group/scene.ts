import type { Cluster, Redis } from 'ioredis';
import { expect } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { eventually } from '../eventually.js';
import type { FaultBed } from '../faults/bed.js';
import type { CompiledLibrary } from '../faults/child-app.js';
import { PATIENCE_MS } from '../patience.js';
import { type CheckOptions, History, expectNothing } from './history.js';
import { TrackedKeys } from './tracked-keys.js';
import { Fleet, type WorkerOptions } from './workers.js';

export const GROUP = 'presence';

/** A group's processes, and the history of what was done to keys and what became of it. */
export class GroupScene {
  readonly keys: TrackedKeys;

  constructor(
    readonly bed: FaultBed,
    readonly redis: Redis | Cluster,
    private readonly connection: RedisExpiryModuleOptions['connection'],
    private readonly library: CompiledLibrary,
    readonly history = new History(),
  ) {
    this.keys = new TrackedKeys(redis, this.history);
  }

  /** Processes of the group; none runs yet. */
  fleet(
    module: RedisExpiryModuleOptions = {},
    more: Omit<WorkerOptions, 'module'> = {},
  ): Fleet {
    const { connection } = this;
    const options = { connection, group: GROUP, ...module } as typeof module;
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

  async knows(count: number): Promise<void> {
    await eventually(async () => expect(await this.tracked()).toBe(count));
  }

  /** Resolves when the group knows the deadline of each of these. */
  async knowsAll(keys: readonly string[]): Promise<void> {
    await eventually(async () => {
      const index = `rx:{${GROUP}}:index`;
      const scores = await this.redis.zmscore(index, ...keys);
      expect(scores).not.toContain(null);
    });
  }

  /**
   * Resolves when every expiry was handled and the group has nothing left to do; rejects if that
   * takes too long, and in any case if something was handled that should not have been.
   */
  async settles(
    options: CheckOptions = {},
    timeout = PATIENCE_MS,
  ): Promise<void> {
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
    expectNothing(history.check(options));
  }
}
