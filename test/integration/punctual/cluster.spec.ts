import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import { startCluster } from '../../support/punctual/cluster.js';
import {
  ALL_WELL,
  PunctualApp,
  names,
  openBed,
  sortedFlags,
} from '../../support/punctual/scene.js';

/** A cluster reads by single commands: what it knows of a deadline may be some ms too early. */
const EARLY = 100;

describe.concurrent('a Cluster of three primaries', () => {
  it.for(['', 'device:'])(
    'has its keys touched on time on each, with the keyPrefix "%s"',
    async (keyPrefix, context) => {
      const bed = openBed(context);
      const cluster = await startCluster(bed);
      const start = Date.now() + paced(5_000);
      const due = (i: number): number => start + i * 3;
      const deadlines = new Map<string, number>();
      const give = async (prefix: string): Promise<void> => {
        const keys = names(300, prefix);
        for (const [i, key] of keys.entries()) deadlines.set(key, due(i));
        await Promise.all(
          keys.map((key) =>
            cluster.client.set(
              keyPrefix + key,
              '',
              'PXAT',
              deadlines.get(key)!,
            ),
          ),
        );
      };
      await give('old');
      const app = await PunctualApp.start(bed, cluster.nodes[0]!.admin, {
        connection: {
          nodes: cluster.addresses,
          options: { redisOptions: { keyPrefix } },
        },
      });
      await app.ready();
      expect(app.tracked).toBe(300);
      await give('new');
      await app.tracks(600);
      expect(Date.now()).toBeLessThan(start);

      const { nodes } = app.app.status;
      expect(nodes).toHaveLength(3);
      for (const node of nodes) {
        expect(node.tracked).toBeGreaterThan(100);
        expect(node.lastScan!.keys).toBeGreaterThan(50);
        expect(sortedFlags(node.flags!)).toBe('Knx');
      }
      await app.hears(600);

      expect(app.check(deadlines, EARLY)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).p50).toBeLessThan(paced(500));
      expect(app.handledLate(deadlines).max).toBeLessThan(paced(2_000));
      expect(app.tracked).toBe(0);
      const left = await Promise.all(
        cluster.nodes.map(({ admin }) => admin.dbsize()),
      );
      expect(left).toEqual([0, 0, 0]);
    },
  );

  it('has renewed, persisted and deleted keys left alone', async (context) => {
    const bed = openBed(context);
    const cluster = await startCluster(bed);
    const { client } = cluster;
    const app = await PunctualApp.start(bed, cluster.nodes[0]!.admin, {
      connection: { nodes: cluster.addresses },
    });
    await app.ready();
    const due = Date.now() + paced(4_000);
    const keys = names(120);
    await Promise.all(keys.map((key) => client.set(key, '', 'PXAT', due)));
    await app.tracks(120);
    const renewed = new Map<string, number>();
    for (const [i, key] of keys.entries()) {
      if (i % 4 === 0) await client.persist(key);
      else if (i % 4 === 1) await client.del(key);
      else {
        const later = due + 800 + i;
        renewed.set(key, later);
        await client.set(key, '', 'PXAT', later);
      }
    }
    expect(Date.now()).toBeLessThan(due);
    await app.hears(60);
    await app.tracks(0);

    expect(app.check(renewed, EARLY)).toEqual(ALL_WELL);
  });
});
