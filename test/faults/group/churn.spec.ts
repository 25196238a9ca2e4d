import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';

const ROUNDS = 5;
/** All that a group may ever have, by its last part. */
const OWN = ['events', 'index', 'instances', 'handlers', 'lease', 'retry'];
const own = [...OWN, 'listened', 'request', 'runs', 'watched'].map(
  (part) => `rx:{presence}:${part}`,
);
/** What is left of it when there is nothing to do. */
const idle = own.filter((key) => !/:(index|retry|runs)$/.test(key));

/** Keys that are not among those that may be there. */
const beyond = (allowed: readonly string[], keys: readonly string[]) =>
  keys.filter((key) => !allowed.includes(key));

/** The processes that the group counts among its consumers. */
async function consumers(redis: Redis): Promise<string[]> {
  const all = (await redis.xinfo(
    'CONSUMERS',
    'rx:{presence}:events',
    'presence',
  )) as string[][];
  return all.map((info) => info[1]!.split(':')[1]!).toSorted();
}

describe('a group that runs for long', () => {
  it(
    'leaves nothing behind of 20,000 keys and of the instances that came and went',
    { timeout: 300_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const { redis, history } = group;
      const ownKeys = async (): Promise<string[]> =>
        (await redis.keys('rx:*')).filter((key) => !/:self-test:/.test(key));
      // All keys there are: those of the group itself are none of its business.
      const fleet = group.fleet({ leaseDuration: 1_000 }, { pattern: '*' });
      await fleet.start(3);
      for (let round = 0; round < ROUNDS; round++) {
        const keys = names(`k${round}-`, 4_000);
        await group.keys.set(spread(keys, 6_000, 8_000));
        await fleet.start(1);
        const leader = await fleet.leader();
        const other = fleet.alive.find((worker) => worker !== leader)!;
        // Every other time the one that watches leaves, and one that does not is killed in between.
        if (round % 2 === 0) await leader.stop();
        else await other.kill();
        expect(beyond(own, await ownKeys())).toEqual([]);
      }
      await group.settles();

      const { handled } = history.counts;
      expect(handled).toBe(ROUNDS * 4_000);
      expect(fleet.alive).toHaveLength(3);
      // Those that are gone are forgotten a minute later.
      const alive = fleet.alive.map(({ pid }) => `${pid}`).toSorted();
      await eventually(async () =>
        expect(await consumers(redis)).toEqual(alive),
      );
      expect(beyond(idle, await ownKeys())).toEqual([]);
      expect(await redis.xlen('rx:{presence}:events')).toBe(0);
      expect(await redis.xpending('rx:{presence}:events', 'presence')).toEqual([
        ...[0, null, null, null],
      ]);
      await eventually(
        async () =>
          expect(await redis.zcard('rx:{presence}:instances')).toBe(3),
        { timeout: 120_000 },
      );
      expect(await redis.zrange('rx:{presence}:handlers', '0', '-1')).toEqual([
        expect.stringContaining('"*"'),
      ]);
      // Nothing but the group's own keys is left at all.
      expect(await redis.dbsize()).toBeLessThanOrEqual(idle.length);
      for (const worker of fleet.alive) {
        const { counters, ...status } = await worker.status();
        expect(status).toMatchObject({
          ...{ queued: 0, running: 0 },
          groups: [
            { waiting: 0, pending: 0, retrying: 0, dead: 0, tracked: 0 },
          ],
        });
        const { received, handled: done, failed, superseded } = counters;
        expect(done + failed + superseded + counters.dropped).toBe(received);
        // Dropped is what another instance took over, as this one was too busy to keep its leases.
        expect(failed).toBe(0);
      }
      expect(
        history.handlings.filter(({ key }) => key.startsWith('rx:')),
      ).toEqual([]);
    },
  );
});
