import { describe, expect, inject, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { keyForSlot, useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { expectEach } from '../../support/cluster/expecting.js';
import { eventually } from '../../support/eventually.js';
import { bedOf } from '../../support/faults/bed.js';
import { handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';

describe.each(inject('redisServers'))(
  'a start that does not wait for Redis (lazyConnect), while no node of a Cluster of $name is up',
  ({ path }) => {
    const cluster = useCluster(3, { path });
    /** One for each primary. */
    const keys = [0, 8_000, 16_000].map((slot) => keyForSlot(slot, 'k'));

    async function startWithoutCluster({ broadcast = true } = {}) {
      const { nodes } = cluster;
      await cluster.killAll();
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
          ...(broadcast ? [handler('k*', heard.add, { group: false })] : []),
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

      await cluster.restartAll();
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

      await expectEach(await cluster.connect(), keys, [heard, handled]);
    });

    it('is told of as long as no node is known, and not when all went away again', async (context) => {
      bedOf(context);
      const { subscriber, tries } = await startWithoutCluster({
        broadcast: false,
      });
      const nodes = () => subscriber.status().nodes;
      const up = async () => {
        await cluster.restartAll();
        await eventually(() => {
          const [group] = subscriber.status().groups;
          const states = group!.nodes.map(({ state }) => state);
          expect(states).toEqual(['listening', 'listening', 'listening']);
        });
      };
      await tries.one();
      expect(nodes()).toMatchObject([{ state: 'connecting' }]);
      await up();
      // Nothing listens but the group, which tells of its own nodes.
      expect(nodes()).toEqual([]);

      await cluster.killAll();
      const before = tries.all.length;
      await eventually(() =>
        expect(tries.all.length).toBeGreaterThan(before + 2),
      );
      expect(nodes()).toEqual([]);
      await up();

      expect(nodes()).toEqual([]);
    });

    it('is given up when the application is closed', async (context) => {
      bedOf(context);
      const { close, tries } = await startWithoutCluster();
      await tries.next(3);

      const began = Date.now();
      await close();

      expect(Date.now() - began).toBeLessThan(paced(2_000));
      await cluster.restartAll();
      // Nor does anybody connect to it now that it is up.
      for (const server of cluster.servers)
        expect(await server.connections()).toEqual([]);
    });
  },
);
