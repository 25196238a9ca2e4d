import { once } from 'node:events';
import { Cluster, type ClusterOptions } from 'ioredis';
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest';
import { eventually } from './eventually.js';
import { TestServer, type TestServerOptions } from './servers.js';

const SLOTS = 16_384;

/** A real Cluster of primaries without replicas, each with its share of the slots. */
export class TestCluster {
  servers: TestServer[] = [];

  constructor(private readonly size: number) {}

  get nodes(): { host: string; port: number }[] {
    return this.servers.map(({ host, port }) => ({ host, port }));
  }

  async start(): Promise<void> {
    this.servers = await Promise.all(
      Array.from({ length: this.size }, () => startNode()),
    );
    await Promise.all(
      this.servers.map(async ({ redis }, i) => {
        const share = (n: number) => Math.ceil((n * SLOTS) / this.size);
        await redis.cluster('SET-CONFIG-EPOCH', i + 1);
        await redis.call(
          'CLUSTER',
          'ADDSLOTSRANGE',
          share(i),
          share(i + 1) - 1,
        );
      }),
    );
    const [first, ...others] = this.servers;
    for (const { host, port } of others)
      await first!.redis.cluster('MEET', host, port);
    for (const { redis } of this.servers) {
      await eventually(
        async () => {
          const info = String(await redis.cluster('INFO'));
          const complete = [
            'cluster_state:ok',
            `cluster_known_nodes:${this.size}`,
            `cluster_size:${this.size}`,
          ];
          if (!complete.every((line) => info.includes(line)))
            throw new Error(`The Cluster is not complete: ${info}`);
        },
        { timeout: 30_000 },
      );
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async reset(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.reset()));
  }

  /** A client that is connected, and closed when the test is over. */
  async connect(options: ClusterOptions = {}): Promise<Cluster> {
    const { redisOptions } = options;
    const client = new Cluster(this.nodes, {
      ...options,
      redisOptions: { ...redisOptions, connectionName: 'test' },
    });
    onTestFinished(() => client.disconnect());
    await once(client, 'ready');
    return client;
  }
}

/** A Cluster for the tests of a file, as new before each of them. */
export function useCluster(size: number): TestCluster {
  const cluster = new TestCluster(size);
  beforeAll(() => cluster.start());
  beforeEach(() => cluster.reset());
  afterAll(() => cluster.stop());
  return cluster;
}

/** The nodes' own port is by 10,000 above the clients': below what systems give to outgoing connections. */
async function startNode(): Promise<TestServer> {
  for (let attempt = 1; ; attempt++) {
    const options: TestServerOptions = {
      port: 20_000 + Math.floor(Math.random() * 2_700),
      args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '3000'],
    };
    try {
      return await new TestServer(options).start();
    } catch (error) {
      if (attempt === 20 || !/in use/i.test(String(error))) throw error;
    }
  }
}
