import { describe, expect, inject, it } from 'vitest';
import { armWhileKilling } from '../../support/armed/kill-loop.js';
import { writer } from '../../support/armed/writer.js';
import { useCluster } from '../../support/cluster.js';
import { groupOn } from '../../support/faults/cluster-scene.js';

describe.each(inject('redisServers'))(
  'armed keys on a Cluster of $name',
  ({ path }) => {
    const cluster = useCluster(3, { path });

    it(
      'are all handed over, and none that was cancelled, while all processes are killed again and again',
      { timeout: 400_000 },
      async (context) => {
        const scene = await groupOn(context, cluster);
        const { keys } = await writer({ connection: { nodes: cluster.nodes } });

        const { ledger } = await armWhileKilling(scene, {
          ...{ keys, count: 10_000 },
        });

        expect(ledger.counts.cancelled).toBeGreaterThan(0);
      },
    );
  },
);
