import { describe, expect, inject, it } from 'vitest';
import {
  atomicMigration,
  keysForSlot,
  useCluster,
} from '../../support/cluster.js';
import { hearingOn } from '../../support/faults/cluster-scene.js';
import { spread } from '../../support/group/bed.js';
import { keysIn, moveSlowly } from '../../support/faults/moving-slots.js';
import { names } from '../../support/group/history.js';
import type { TestServer } from '../../support/servers.js';
import { Traffic } from '../../support/faults/traffic.js';
import { Random } from '../../support/random.js';

describe.each(inject('redisServers'))(
  'broadcast on a Cluster of $name whose slots move',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });

    it(
      'hears every key once while a primary is added, is given slots, and one is removed',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, keys } = await hearingOn(context, cluster);
        const leaving = cluster.servers[2]!;
        const traffic = new Traffic(keys, { fresh: [300, 1_500] });
        traffic.begin();

        const added = await cluster.addPrimary();
        await hearing.listensTo(await cluster.primaries());
        await cluster.moveSlots([0, 1_999], added);
        await cluster.removePrimary(leaving, { keepRunning: true });
        await traffic.end();

        expect(await hearing.accounts()).toBe(0);
        const old = hearing.nodes.filter((n) => n.address !== added.address);
        expect(old.map(({ gaps }) => gaps)).toEqual([0, 0, 0]);
        // It is listened to as long as it runs: it may have kept keys.
        expect(hearing.node(leaving.address)?.state).toBe('listening');
        await leaving.stop();
        await hearing.listensTo(await cluster.primaries());
      },
    );

    it(
      'hears every key once, also those that run out on the way',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, keys } = await hearingOn(context, cluster);
        const slots = [5, 6, 7];
        const moving = keysIn(slots, 'moving:', 100);
        const all = new Random(2).shuffle([...moving, ...names('k', 200)]);
        await keys.set(spread(all, 500, 6_000));

        const [, to] = cluster.servers as [TestServer, TestServer];
        const { history } = hearing;
        const onTheWay = await moveSlowly(cluster, slots, to, moving, history);
        console.log(
          `${onTheWay} of 300 ran out while their slot was on its way`,
        );

        expect(await hearing.accounts()).toBe(0);
      },
    );
  },
);

/** From 8.4 on Redis neither expires nor announces keys of slots that it does not serve. */
const expiring = inject('redisServers').filter(
  ({ path }) => atomicMigration(path) !== 'target',
);

describe.each(expiring)(
  'broadcast on a Cluster of $name one of whose primaries kept keys',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });

    it('hears them though it is no primary any more', async (context) => {
      const { hearing, keys, redis } = await hearingOn(context, cluster);
      const leaving = cluster.servers[2]!;
      await cluster.removePrimary(leaving, { keepRunning: true });
      const kept = keysForSlot(1, 'kept:', 20);
      const other = await cluster.primaryOf(1);
      await leaving.redis.cluster(
        ...(['SETSLOT', 1, 'IMPORTING', await other.redis.cluster('MYID')] as [
          'SETSLOT',
          number,
          'IMPORTING',
          string,
        ]),
      );
      const until = Date.now() + 1_500;
      for (const key of kept) {
        hearing.history.set(key, until);
        await leaving.redis
          .pipeline([['asking'], ['set', key, '', 'PXAT', until]])
          .exec();
      }
      await leaving.redis.cluster('SETSLOT', 1, 'STABLE');
      expect(await leaving.redis.dbsize()).toBe(20);
      expect(await redis.exists(...kept)).toBe(0);
      await keys.set(spread(names('k', 50), 500, 1_000));

      expect(await hearing.accounts()).toBe(0);
    });
  },
);
