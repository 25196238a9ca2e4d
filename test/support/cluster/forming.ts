import { eventually } from '../eventually.js';
import { PATIENCE_MS } from '../patience.js';
import { TestServer, type TestServerOptions } from '../servers.js';
import type { Members } from './members.js';
import { SLOTS } from './slots.js';

export interface TestClusterOptions extends Pick<
  TestServerOptions,
  'path' | 'login' | 'tls'
> {
  /** Of each primary; none when left out. */
  replicas?: number;
  /** Ms without an answer after which a node is suspected: a failover takes some more. */
  nodeTimeout?: number;
  /** Added last, for all nodes or by a node's place: primaries, then replicas, then those added later. */
  args?: readonly string[] | ((place: number) => readonly string[]);
  /** CONFIG is an unknown command, as services have it that run Redis for others. */
  configForbidden?: boolean;
}

/** The nodes' own port is by 10,000 above the clients': below what systems give to outgoing connections. */
export async function startNode(
  options: TestClusterOptions,
  place: number,
): Promise<TestServer> {
  const { path, login, tls } = options;
  for (let attempt = 1; ; attempt++) {
    const server = new TestServer({
      ...{ path, login, tls },
      port: 20_000 + Math.floor(Math.random() * 2_700),
      args: argumentsOf(options, place),
    });
    try {
      return await server.start();
    } catch (error) {
      await server.stop();
      if (attempt === 20 || !/in use/i.test(String(error))) throw error;
    }
  }
}

function argumentsOf(options: TestClusterOptions, place: number): string[] {
  const { replicas = 0, login, tls, args = [] } = options;
  const { nodeTimeout = replicas > 0 ? 1_000 : 3_000 } = options;
  return [
    ...['--cluster-enabled', 'yes', '--cluster-node-timeout', `${nodeTimeout}`],
    ...['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1'],
    // However long its link was down a replica is good enough, and it stays with its primary.
    ...['--cluster-replica-validity-factor', '0'],
    ...['--cluster-allow-replica-migration', 'no'],
    ...(login?.password
      ? ['--requirepass', login.password, '--masterauth', login.password]
      : []),
    ...(tls ? ['--tls-cluster', 'yes', '--tls-replication', 'yes'] : []),
    ...(options.configForbidden ? ['--rename-command', 'CONFIG', ''] : []),
    ...(typeof args === 'function' ? args(place) : args),
  ];
}

/** Makes one Cluster of nodes that are in none: each primary gets its share of the slots. */
export async function form(members: Members, primaries: number): Promise<void> {
  const servers = members.servers;
  await Promise.all(
    servers.slice(0, primaries).map(async ({ redis }, i) => {
      const share = (n: number) => Math.ceil((n * SLOTS) / primaries);
      await redis.cluster('SET-CONFIG-EPOCH', i + 1);
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', share(i), share(i + 1) - 1);
    }),
  );
  for (const server of servers.slice(1)) await meet(servers[0]!, server);
  await Promise.all(
    servers
      .slice(primaries)
      .map((server, i) => replicate(members, server, servers[i % primaries]!)),
  );
  await members.agree((view) => {
    const roles = [...view.values()].map(({ role }) => role);
    return roles.filter((role) => role === 'primary').length === primaries;
  });
}

export async function meet(one: TestServer, other: TestServer): Promise<void> {
  await one.redis.cluster('MEET', other.host, other.port);
}

/** Refused until the two have met. */
export async function replicate(
  members: Members,
  replica: TestServer,
  primary: TestServer,
): Promise<void> {
  const id = members.idOf(primary);
  await eventually(() => replica.redis.cluster('REPLICATE', id), {
    timeout: PATIENCE_MS,
    interval: 20,
  });
}
