import { describe, expect, inject, it } from 'vitest';
import { slotOf, useCluster } from '../../support/cluster.js';
import { eventually } from '../../support/eventually.js';
import { groupOn, keysOn } from '../../support/faults/cluster-scene.js';
import { busyGroup } from '../../support/faults/busy-group.js';
import { GROUP } from '../../support/group/scene.js';

/** Where the group keeps its own keys. */
const HOME = slotOf(`{${GROUP}}`);

describe.each(inject('redisServers'))(
  'a group on a Cluster of $name',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });

    it(
      'loses and repeats nothing when a primary is killed',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const home = await cluster.primaryOf(HOME);
        const primary = (await cluster.primaries()).find((p) => p !== home)!;
        const { traffic } = await busyGroup(scene);
        const isOnIt = await keysOn(primary);

        await traffic.hold(isOnIt);
        // Its replica is to have the newest deadlines, too: they are kept where the keys are.
        const soon = Date.now() + 2_000;
        const newest = scene.history.expired.filter(
          ({ key, deadline }) => isOnIt(key) && deadline > soon,
        );
        await scene.knowsAll(newest.map(({ key }) => key));
        await cluster.replicated(primary);
        const killedAt = await cluster.kill(primary);
        const promotion = await cluster.untilPromoted(primary);
        traffic.release();
        console.log(`promoted ${promotion.at - killedAt} ms after the kill`);
        await traffic.end();
        await scene.settles();

        expect(scene.history.counts.handled).toBe(scene.history.expected);
      },
    );

    it(
      'loses nothing when the primary that has its own keys is killed, and at the same time the instance that leads',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const primary = await cluster.primaryOf(HOME);
        const { traffic, fleet } = await busyGroup(scene);
        const isOnIt = await keysOn(primary);
        const leader = await fleet.leader();

        // Nobody could note the deadline of what is created now, and that may be over before somebody can.
        await traffic.hold((key) => isOnIt(key) || traffic.isFresh(key));
        await scene.knowsAll(traffic.newest);
        await cluster.replicated(primary);
        await Promise.all([cluster.kill(primary), leader.kill()]);
        const promotion = await cluster.untilPromoted(primary);
        traffic.release();
        await eventually(async () =>
          expect(await fleet.leader()).not.toBe(leader),
        );
        console.log(`led ${Date.now() - promotion.at} ms after the promotion`);
        await traffic.end();
        await scene.settles({ rolledBack: true });

        expect(scene.history.counts.handled).toBe(scene.history.expected);
      },
    );

    it(
      'loses and repeats nothing when replicas take over by command',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const { traffic } = await busyGroup(scene);

        for (const primary of await cluster.primaries())
          await cluster.failover(await cluster.replicaOf(primary));
        await traffic.end();
        await scene.settles();

        expect(scene.history.counts.handled).toBe(scene.history.expected);
      },
    );
  },
);
