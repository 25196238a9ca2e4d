import { Cluster, type Redis } from 'ioredis';
import type { FaultBed } from '../faults/bed.js';
import type { RedisServer } from '../redis/redis-server.mjs';
import { type SceneOptions, startServer, until } from './scene.js';

/** Three primaries without replicas. */
export interface TestCluster {
  readonly nodes: readonly { server: RedisServer; admin: Redis }[];
  /** Where they are, for the option `connection`. */
  readonly addresses: { host: string; port: number }[];
  /** A client of the test's own. */
  readonly client: Cluster;
}

const SLOTS = 16_384;

export async function startCluster(
  bed: FaultBed,
  { args = [], ...options }: SceneOptions = {},
): Promise<TestCluster> {
  const nodes = await Promise.all(
    [0, 1, 2].map(() =>
      startServer(bed, {
        ...options,
        args: ['--cluster-enabled', 'yes', ...args],
      }),
    ),
  );
  const ends = nodes.map((_, i) => Math.round(((i + 1) * SLOTS) / 3));
  for (const [i, { admin }] of nodes.entries()) {
    const first = i === 0 ? 0 : ends[i - 1]!;
    await admin.cluster('ADDSLOTSRANGE', first, ends[i]! - 1);
    await admin.cluster('SET-CONFIG-EPOCH', i + 1);
  }
  for (const { server } of nodes.slice(1))
    await nodes[0]!.admin.cluster('MEET', '127.0.0.1', server.port);
  for (const { admin } of nodes) {
    await until(
      async () => {
        const info = (await admin.cluster('INFO')) as string;
        return (
          info.includes('cluster_state:ok') &&
          info.includes('cluster_known_nodes:3')
        );
      },
      () => 'the cluster does not come up',
    );
  }
  const addresses = nodes.map(({ server }) => ({
    host: '127.0.0.1',
    port: server.port,
  }));
  const client = new Cluster(addresses);
  client.on('error', () => undefined);
  bed.defer(() => client.disconnect());
  return { nodes, addresses, client };
}
