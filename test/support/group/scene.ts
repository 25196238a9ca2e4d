import type { Cluster, Redis } from 'ioredis';
import { expect } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { eventually } from '../eventually.js';
import type { FaultBed } from '../faults/bed.js';
import { PATIENCE_MS } from '../patience.js';
import { AllPartitions } from './all-partitions.js';
import { type CheckOptions, History, expectNothing } from './history.js';
import { TrackedKeys } from './tracked-keys.js';
import { Fleet, type WorkerOptions } from './workers.js';

export const GROUP = 'presence';

/** A group's processes, and the history of what was done to keys and what became of it. */
export class GroupScene {
  readonly keys: TrackedKeys;
  readonly partitions: AllPartitions;

  constructor(
    readonly bed: FaultBed,
    readonly redis: Redis | Cluster,
    private readonly connection: RedisExpiryModuleOptions['connection'],
    readonly history = new History(),
  ) {
    this.keys = new TrackedKeys(redis, this.history);
    this.partitions = new AllPartitions(redis, GROUP);
  }

  /** Processes of the group; none runs yet. */
  fleet(
    module: RedisExpiryModuleOptions = {},
    more: Omit<WorkerOptions, 'module'> = {},
  ): Fleet {
    const { connection } = this;
    const options = { connection, group: GROUP, ...module } as typeof module;
    return new Fleet(this.bed, this.history, {
      // All keys of these tests, and none of the group's own: `knows` counts them.
      pattern: '[^r]*',
      ...more,
      module: options,
    });
  }

  /** How many keys the group knows the deadline of. */
  tracked(): Promise<number> {
    return this.partitions.sum((redis, { index }) => redis.zcard(index));
  }

  async knows(count: number): Promise<void> {
    await eventually(async () => expect(await this.tracked()).toBe(count));
  }

  /** Resolves when so many partitions are watched: their low watermarks pass the moment of the call by more than a lease's first note. */
  async watches(count: number): Promise<void> {
    const since = Date.now() + 1_000;
    await eventually(async () =>
      expect(
        await this.partitions.sum(async (redis, { watched }) =>
          Number(await redis.get(watched)) > since ? 1 : 0,
        ),
      ).toBe(count),
    );
  }

  /** Resolves when the group knows the deadline of each of these. */
  async knowsAll(keys: readonly string[]): Promise<void> {
    await eventually(async () =>
      expect(await this.partitions.indexed(keys)).toEqual(keys),
    );
  }

  /**
   * Resolves when every expiry was handled and the group has nothing left to do; rejects if that
   * takes too long, and in any case if something was handled that should not have been.
   */
  async settles(
    options: CheckOptions = {},
    timeout = PATIENCE_MS,
  ): Promise<void> {
    const { partitions, history } = this;
    await eventually(
      async () => {
        const { missing } = history.check(options);
        expect(missing.slice(0, 5), `${missing.length} are missing`).toEqual(
          [],
        );
        const now = Date.now();
        // A false event of a key that was deleted would come at its deadline.
        const { grace = 0 } = options;
        expect(now).toBeGreaterThan(history.lastDeadline + grace + 100);
        const left = {
          events: await partitions.sum((redis, { events }) =>
            redis.xlen(events),
          ),
          retry: await partitions.sum((redis, { retry }) => redis.zcard(retry)),
          grace: await partitions.sum((redis, { grace }) => redis.zcard(grace)),
          due: await partitions.sum((redis, { index }) =>
            redis.zcount(index, '-inf', now - 5),
          ),
          away: await partitions.sum((redis, { away }) =>
            redis.zcount(away, '-inf', now - 5),
          ),
        };
        const none = { events: 0, retry: 0, grace: 0, due: 0, away: 0 };
        expect(left).toEqual(none);
      },
      { timeout },
    );
    expect(await partitions.sum((redis, { dead }) => redis.xlen(dead))).toBe(0);
    expectNothing(history.check(options));
  }
}
