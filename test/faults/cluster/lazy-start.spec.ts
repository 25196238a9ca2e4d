import { describe, expect, inject, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { keyForSlot, useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { bedOf } from '../../support/faults/bed.js';
import { handler } from '../../support/group/app.js';

describe.each(inject('redisServers'))(
  'a start that does not wait for Redis (lazyConnect), while no node of a Cluster of $name is up',
  ({ path }) => {
    const cluster = useCluster(3, { path });
    /** One for each primary. */
    const keys = [0, 8_000, 16_000].map((slot) => keyForSlot(slot, 'k'));

    async function startWithoutCluster() {
      const { nodes } = cluster;
      await Promise.all(cluster.servers.map((server) => cluster.kill(server)));
      const heard = collect<KeyExpiredEvent>();
      const handled = collect<KeyExpiredEvent>();
      const tries = collect<number>();
      const app = await createApp({
        imports: [
          RedisExpiryModule.forRoot({
            connection: {
              nodes,
              options: {
                lazyConnect: true,
                redisOptions: { connectTimeout: 500 },
                clusterRetryStrategy: (times) => {
                  tries.add(times);
                  return 100;
                },
              },
            },
            group: 'presence',
          }),
        ],
        providers: [
          handler('k*', heard.add, { group: false }),
          handler('k*', handled.add),
        ],
      });
      return { ...app, subscriber: app.subscriber, heard, handled, tries };
    }

    it('succeeds, and both modes handle what expires once the Cluster is up', async (context) => {
      bedOf(context);
      const { subscriber, logs, heard, handled, tries } =
        await startWithoutCluster();
      // For longer than connectTimeout, which bounds a try and not the waiting.
      const began = Date.now();
      while (Date.now() - began < 1_000) await tries.one();
      const why = expect.stringContaining('ECONNREFUSED') as string;
      expect(subscriber.status()).toMatchObject({
        nodes: [{ state: 'connecting', lastError: why }],
        groups: [{ leads: false, nodes: [] }],
      });
      await eventually(() => {
        const warnings = logs.texts('warn', 'not reached yet');
        expect(warnings).not.toEqual([]);
        for (const text of warnings) expect(text).toContain('ECONNREFUSED');
      });

      await Promise.all(cluster.servers.map((server) => server.restart()));
      await cluster.settled();
      await subscriber.ready();
      await eventually(() => {
        const { nodes, groups } = subscriber.status();
        for (const each of [nodes, groups[0]!.nodes])
          expect(each.map(({ state }) => state)).toEqual([
            'listening',
            'listening',
            'listening',
          ]);
      });

      const redis = await cluster.connect();
      for (const key of keys) await redis.set(key, '1', 'PX', 300);
      for (const events of [heard, handled]) {
        const received = await events.next(keys.length);
        expect(received.map(({ key }) => key).toSorted()).toEqual(
          keys.toSorted(),
        );
      }
    });

    it('is given up when the application is closed', async (context) => {
      bedOf(context);
      const { close, tries } = await startWithoutCluster();
      await tries.next(3);

      const began = Date.now();
      await close();

      expect(Date.now() - began).toBeLessThan(1_000);
      await Promise.all(cluster.servers.map((server) => server.restart()));
      await cluster.settled();
      // Nor does anybody connect to it now that it is up.
      for (const server of cluster.servers)
        expect(await server.connections()).toEqual([]);
    });
  },
);
