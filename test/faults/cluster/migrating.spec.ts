import { describe, expect, inject, it } from 'vitest';
import { atomicMigration, slotOf, useCluster } from '../../support/cluster.js';
import { busyGroup } from '../../support/faults/busy-group.js';
import { groupOn, hearingOn } from '../../support/faults/cluster-scene.js';
import { keysIn } from '../../support/faults/moving-slots.js';
import { spread } from '../../support/group/bed.js';
import { type History, names } from '../../support/group/history.js';
import { GROUP } from '../../support/group/scene.js';
import { Random } from '../../support/random.js';
import { type TestServer, useServer } from '../../support/servers.js';

type Range = readonly [first: number, last: number];

/** Where the group keeps its own keys: on the third primary. */
const HOME = slotOf(`{${GROUP}}`);
const OF_FIRST: Range = [0, 3_000];
const OF_THIRD: Range = [HOME - 1_000, HOME];
/** Micros for each key: the migration of 200 keys takes a second. */
const PER_KEY = 5_000;

const [able, unable] = [true, false].map((wanted) =>
  inject('redisServers').filter(
    ({ path }) => (atomicMigration(path) !== undefined) === wanted,
  ),
);

describe.each(able!)(
  'slots that migrate as one, on a Cluster of $name,',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });

    const inSomeOf = ([first, last]: Range, count: number): string[] =>
      keysIn([first + 1, last - 1], 'moving:', count / 2);

    /** Tells how many of the keys ran out while their slots migrated. */
    async function migrate(
      range: Range,
      to: TestServer,
      keys: readonly string[],
      history: History,
    ): Promise<void> {
      const began = Date.now();
      await cluster.migrateSlots(range, to, PER_KEY);
      const ended = Date.now();
      const onTheWay = keys.filter((key) => {
        const deadline = history.deadlineOf(key, 1);
        return began <= deadline && deadline <= ended;
      });
      console.log(
        `${onTheWay.length} of ${keys.length} ran out in the ${ended - began} ms for which their slots migrated`,
      );
    }

    it(
      'are heard by broadcast: each of their keys once',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, keys } = await hearingOn(context, cluster);
        const moving = inSomeOf(OF_FIRST, 300);
        const all = new Random(2).shuffle([...moving, ...names('k', 300)]);
        await keys.set(spread(all, 500, 4_000));

        const { history } = hearing;
        const [, to] = cluster.servers as [TestServer, TestServer];
        await migrate(OF_FIRST, to, moving, history);

        expect(await hearing.accounts()).toBe(0);
        expect(hearing.nodes.map(({ gaps }) => gaps)).toEqual([0, 0, 0]);
      },
    );

    it(
      'lose and repeat nothing of a group, whose own keys are among theirs',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const { history, keys } = scene;
        const ofFirst = inSomeOf(OF_FIRST, 200);
        const ofThird = inSomeOf(OF_THIRD, 200);
        const { traffic } = await busyGroup(scene, {
          beating: keysIn([0, HOME], 'moving-beating:', 10),
        });

        const [first, second] = cluster.servers as [TestServer, TestServer];
        for (const [range, to, moving] of [
          [OF_FIRST, second, ofFirst],
          [OF_THIRD, first, ofThird],
        ] as const) {
          await keys.set(spread(moving, 500, 2_500));
          await migrate(range, to, moving, history);
        }
        await traffic.end();
        await scene.settles();

        expect(history.counts.handled).toBe(history.expected);
      },
    );
  },
);

describe.each(unable!)('slots that migrate as one, on $name,', ({ path }) => {
  const server = useServer({ path, args: ['--cluster-enabled', 'yes'] });

  it.each(['MIGRATESLOTS', 'MIGRATION'])(
    'are unknown by the name of %s',
    async (command) => {
      await expect(server.redis.call('CLUSTER', command)).rejects.toThrow(
        /unknown subcommand/i,
      );
    },
  );
});
