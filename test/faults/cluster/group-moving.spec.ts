import { describe, expect, inject, it } from 'vitest';
import { slotOf, useCluster } from '../../support/cluster.js';
import { groupOn } from '../../support/faults/cluster-scene.js';
import { keysIn, moveSlowly } from '../../support/faults/moving-slots.js';
import { busyGroup } from '../../support/faults/busy-group.js';
import { GROUP } from '../../support/group/scene.js';
import type { TestServer } from '../../support/servers.js';

/** Where the group keeps its own keys. */
const HOME = slotOf(`{${GROUP}}`);

describe.each(inject('redisServers'))(
  'a group on a Cluster of $name whose slots move',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });

    it(
      'loses nothing, and repeats nothing but by the same id, while a primary is added, is given slots and the own keys of the group, and one is removed',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const { traffic } = await busyGroup(scene);

        const added = await cluster.addPrimary();
        // What is created on it before it has a slot, and is over before somebody listens there, nobody can know.
        await cluster.moveSlot(0, added);
        await scene.watches(4);
        await cluster.moveSlots([1, 1_999], added);
        await cluster.moveSlot(HOME, added, { batch: 1 });
        const leaving = cluster.servers[1]!;
        await cluster.removePrimary(leaving, { keepRunning: true });
        await traffic.end();
        await scene.settles({ rolledBack: true });

        expect(scene.history.counts.handled).toBe(scene.history.expected);
      },
    );

    it(
      'loses and repeats no key that runs out, is renewed or is deleted on the way',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const slots = [5, 6, 7];
        const expiring = keysIn(slots, 'moving:', 80);
        const { traffic } = await busyGroup(scene, {
          beating: keysIn(slots, 'moving-beating:', 10),
          expiring,
        });

        const [, to] = cluster.servers as [TestServer, TestServer];
        const { history } = scene;
        const onTheWay = await moveSlowly(
          cluster,
          slots,
          to,
          expiring,
          history,
        );
        console.log(
          `${onTheWay} of 240 ran out while their slot was on its way`,
        );
        await traffic.end();
        await scene.settles();

        expect(scene.history.counts.handled).toBe(scene.history.expected);
      },
    );
  },
);
