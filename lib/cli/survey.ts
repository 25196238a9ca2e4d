import type { Redis } from 'ioredis';
import type { Arguments } from './arguments.js';
import { CliError } from './cli-error.js';
import { readClusterLines } from './cluster-lines.js';
import { addressOf, connect, databaseOf, urlAt } from './connecting.js';
import { type CheckContext, type DoctorNode, ask } from './context.js';

/** Finds out what is behind a URL and connects to each primary. Throws a `CliError` where nobody answers. */
export async function survey(
  url: string,
  args: Arguments,
): Promise<CheckContext> {
  const first = await open(url);
  const base = {
    url,
    database: databaseOf(url),
    patterns: args.patterns,
    group: args.group,
    namespace: args.namespace,
    measureMs: args.measureMs,
    readOnly: args.readOnly,
  };
  const alone = { isCluster: false, clusterLines: [], unreachable: [] };
  try {
    if (first.info.get('redis_mode') === 'sentinel') {
      const found = await primaryOf(first);
      first.redis.disconnect();
      return { ...base, ...alone, ...found };
    }
    const isCluster = args.cluster || first.info.get('cluster_enabled') === '1';
    if (!isCluster) return { ...base, ...alone, nodes: [first] };
    return { ...base, isCluster, ...(await membersOf(first)) };
  } catch (error) {
    first.redis.disconnect();
    throw error;
  }
}

async function open(url: string): Promise<DoctorNode> {
  const redis = await connect(url);
  const text = (await ask(redis.info())) ?? '';
  const fields = Array.from(
    text.matchAll(/^([^#:\r\n]+):(.*?)\r?$/gm),
    ([, name, value]): [string, string] => [name!, value!],
  );
  return { address: addressOf(url), url, redis, info: new Map(fields) };
}

async function membersOf(
  first: DoctorNode,
): Promise<Pick<CheckContext, 'nodes' | 'clusterLines' | 'unreachable'>> {
  const text = await ask(first.redis.cluster('NODES') as Promise<string>);
  if (text === undefined)
    throw new CliError(
      `${first.address} refuses CLUSTER NODES; grant +cluster|nodes, or leave out --cluster if it is none.`,
    );
  const clusterLines = readClusterLines(text);
  // A node that was just made does not know its own address yet.
  const primaries = clusterLines.filter(({ isPrimary }) => isPrimary);
  const opened = await Promise.allSettled(
    primaries.map(async ({ host, port, slots }) => ({
      ...(await open(urlAt(first.url, host, port))),
      slots,
    })),
  );
  first.redis.disconnect();
  const nodes = opened.flatMap((each) =>
    each.status === 'fulfilled' ? [each.value] : [],
  );
  const unreachable = opened.flatMap((each, i) =>
    each.status === 'rejected'
      ? [
          {
            address: `${primaries[i]!.host}:${primaries[i]!.port}`,
            reason: (each.reason as Error).message,
          },
        ]
      : [],
  );
  if (nodes.length === 0)
    throw new CliError(
      `No primary of the Cluster can be reached: ${unreachable.map(({ reason }) => reason).join(' ')}`,
    );
  return { nodes, clusterLines, unreachable };
}

/** The primary that a Sentinel tells of. */
async function primaryOf({ redis, url, address }: DoctorNode) {
  const lines = ((await ask(sentinel(redis, 'MASTERS'))) ?? []) as string[][];
  const names = lines.map((line) => line[line.indexOf('name') + 1]!);
  const [name] = names;
  if (name === undefined)
    throw new CliError(`${address} is a Sentinel, and tells of no primary.`);
  const quorum = await sentinel(redis, 'CKQUORUM', name).then(
    String,
    (error: Error) => error.message,
  );
  const [host, port] = (await sentinel(
    redis,
    'GET-MASTER-ADDR-BY-NAME',
    name,
  )) as [string, string];
  const node = await open(urlAt(url, host, Number(port)));
  return { nodes: [node], sentinel: { name, quorum } };
}

const sentinel = (redis: Redis, ...words: string[]): Promise<unknown> =>
  redis.call('SENTINEL', ...words);
