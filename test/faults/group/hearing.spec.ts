import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { Traffic } from '../../support/faults/traffic.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import type { Fleet } from '../../support/group/workers.js';
import { paced } from '../../support/paced.js';

/** Keys that live on: `idle` ones are the group's, the others are not. */
async function fill(group: GroupBed, prefix: string, count: number) {
  const pipeline = group.redis.pipeline();
  for (const key of names(prefix, count)) pipeline.set(key, '', 'EX', 3_600);
  await pipeline.exec();
}

/** How the instance that leads hears the server. */
async function hearing(fleet: Fleet) {
  const leader = await fleet.leader();
  const { groups } = await leader.status();
  const { channels, renewals, gaps, state } = groups[0]!.nodes[0]!;
  return { channels, renewals, gaps, state };
}

/** Keys run out, come, are kept alive and are deleted from now on. */
async function busy(group: GroupBed): Promise<Traffic> {
  const lives = paced(3_000);
  const traffic = new Traffic(group.keys, {
    beating: names('beating:', 150),
    deleting: names('deleted:', 150),
    // Known to the group before they run out, though it has to come back first.
    fresh: [lives, lives + 1_000],
  });
  await traffic.write();
  const expiring = names('k:', 900);
  await group.keys.set(spread(expiring, 3_000, 9_000));
  await group.knowsAll(expiring);
  traffic.begin();
  return traffic;
}

describe.concurrent('a group', () => {
  it.for([
    ['that hears renewals', 'heard', 'keyspace', 'heard'],
    ['that hears none', 'auto', 'keyevent', 'not heard'],
  ] as const)(
    '%s loses, repeats and invents nothing over gaps and a change of who leads',
    { timeout: 180_000 },
    async ([, option, channels, renewals], context) => {
      const group = await GroupBed.make(context);
      await fill(group, 'idle:', 2_500);
      const fleet = group.fleet({ renewals: option, leaseDuration: 1_000 });
      await fleet.start(2);
      const expected = { channels, renewals, state: 'listening' };
      await eventually(async () =>
        expect(await hearing(fleet)).toMatchObject(expected),
      );

      const traffic = await busy(group);
      await delay(1_000);
      for (let gaps = 1; gaps <= 3; gaps++) {
        await group.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await eventually(async () =>
          expect(await hearing(fleet)).toMatchObject({ ...expected, gaps }),
        );
        await delay(500);
      }
      // What came and went while nobody led, nobody could know.
      await traffic.hold((key) => traffic.isFresh(key));
      await (await fleet.leader()).kill();
      await eventually(async () =>
        expect(await hearing(fleet)).toMatchObject(expected),
      );
      traffic.release();
      await delay(1_000);
      await traffic.end();
      await group.settles();

      expect(group.history.counts.handled).toBe(group.history.expected);
      // Nothing but what lives on is known any more: deletions were heard of, or found.
      await eventually(async () => expect(await group.tracked()).toBe(2_500));
    },
  );

  it(
    'loses, repeats and invents nothing while it moves between hearing renewals and not, again and again',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      await fill(group, 'idle:', 2_500);
      const fleet = group.fleet({ punctual: { scanInterval: 1_000 } });
      await fleet.start(1);
      const others = names('r-other', 6_000);

      const traffic = await busy(group);
      for (let round = 0; round < 3; round++) {
        await eventually(async () =>
          expect(await hearing(fleet)).toMatchObject({ channels: 'keyevent' }),
        );
        await fill(group, 'r-other', others.length);
        await eventually(async () =>
          expect(await hearing(fleet)).toMatchObject({ channels: 'keyspace' }),
        );
        await group.redis.del(...others);
      }
      await traffic.end();
      // What moved was heard all the while.
      expect(await hearing(fleet)).toMatchObject({ gaps: 0 });
      await group.settles();

      const { handlings, expected, counts } = group.history;
      expect(counts).toEqual({ handled: expected, redelivered: 0 });
      const recovered = handlings.filter(({ source }) => source === 'recovery');
      expect(recovered).toEqual([]);
      await eventually(async () => expect(await group.tracked()).toBe(2_500));
    },
  );
});
