import type { TestServer, TestServerOptions } from '../servers.js';

interface Settings extends Pick<TestServerOptions, 'login'> {
  downAfter: number;
  hostnames: boolean;
}

/** A Sentinel's file, which it writes what it learns into. */
export function configOf(
  name: string,
  primary: TestServer,
  { login, downAfter, hostnames }: Settings,
): Record<string, string> {
  const host = hostnames ? 'localhost' : primary.host;
  return {
    ...(hostnames && {
      'sentinel resolve-hostnames': 'yes',
      'sentinel announce-hostnames': 'yes',
      'sentinel announce-ip': 'localhost',
    }),
    'sentinel monitor': `${name} ${host} ${primary.port} 2`,
    'sentinel down-after-milliseconds': `${name} ${downAfter}`,
    // After a failed attempt it takes twice as long until the next.
    'sentinel failover-timeout': `${name} 2000`,
    ...(login?.password && {
      'sentinel auth-pass': `${name} ${login.password}`,
    }),
    ...(login?.username && {
      'sentinel auth-user': `${name} ${login.username}`,
    }),
  };
}

/**
 * Sentinels ask servers every 10 s and tell of themselves every 2 s: here more often. But during a
 * failover they ask once a second whatever is set here, and so some must not be too short: a replica
 * is promoted only if it was heard of within 5 PING-PERIODs, and after 4 PUBLISH-PERIODs a new primary
 * is made a replica again by those that have not heard of the failover.
 */
const PERIODS = [
  ...['INFO-PERIOD', 100, 'PING-PERIOD', 400],
  ...['ASK-PERIOD', 100, 'PUBLISH-PERIOD', 500],
];

/** Forgotten when a Sentinel restarts. */
export async function quicken({ redis }: TestServer): Promise<void> {
  await redis.call('SENTINEL', 'DEBUG', ...PERIODS);
}

/** The port of the primary that most of the Sentinels name. */
export async function primaryPort(
  sentinels: readonly TestServer[],
  name: string,
): Promise<number> {
  const ports = await Promise.all(
    sentinels.map(async ({ redis }) => {
      const ask = ['GET-MASTER-ADDR-BY-NAME', name] as const;
      const [, port] = (await redis.call('SENTINEL', ...ask)) as string[];
      return Number(port);
    }),
  );
  const votes = (port: number) => ports.filter((each) => each === port).length;
  return ports.toSorted((a, b) => votes(b) - votes(a))[0]!;
}

/** Rejects, with what is missing, unless all say the same and the servers do as they say. */
export async function agreed(
  name: string,
  sentinels: readonly TestServer[],
  servers: readonly TestServer[],
): Promise<void> {
  const port = await primaryPort(sentinels, name);
  await Promise.all([
    ...sentinels.map(async (sentinel) => {
      const nodes = await nodesOf(sentinel, name);
      // Valkey leaves `master_down` there, which is only what that Sentinel said at last.
      const peers = nodes.filter(({ flags }) =>
        /^sentinel(,master_down)?$/.test(flags!),
      );
      const complete = servers.every((server) => {
        const node = nodes.find((each) => each.port === `${server.port}`);
        return server.port === port ? isPrimary(node) : isReplica(node, port);
      });
      if (!complete || peers.length < sentinels.length - 1)
        throw new Error(
          `${sentinel.address} does not see all well: ${JSON.stringify(nodes, null, 1)}`,
        );
    }),
    ...servers.map(async (server) => {
      const info = await server.redis.info('replication');
      const isDone =
        server.port === port
          ? info.includes('role:master')
          : info.includes(`master_port:${port}`) &&
            info.includes('master_link_status:up');
      if (!isDone) throw new Error(`${server.address} is not done: ${info}`);
    }),
  ]);
}

type Node = Readonly<Record<string, string>>;

/** The primary, its replicas and the other Sentinels. */
async function nodesOf({ redis }: TestServer, name: string): Promise<Node[]> {
  const ask = (what: string) => redis.call('SENTINEL', what, name);
  const [primary, replicas, sentinels] = (await Promise.all(
    ['MASTER', 'REPLICAS', 'SENTINELS'].map(ask),
  )) as [string[], string[][], string[][]];
  return [primary, ...replicas, ...sentinels].map(nodeOf);
}

/** Further flags would say that it is down or not connected, or has a part in a failover. */
const isPrimary = (node: Node | undefined): boolean => node?.flags === 'master';

const isReplica = (node: Node | undefined, of: number): boolean =>
  node?.flags === 'slave' &&
  node['role-reported'] === 'slave' &&
  node['master-port'] === `${of}`;

/** Replies list names and values by turns. */
function nodeOf(list: readonly string[]): Node {
  const node: Record<string, string> = {};
  for (let i = 0; i < list.length; i += 2) node[list[i]!] = list[i + 1]!;
  return node;
}
