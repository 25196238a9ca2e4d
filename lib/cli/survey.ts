import { escapeGlob } from '../dispatch/redis-glob.js';
import type { Arguments } from './arguments.js';
import { CliError } from './cli-error.js';
import { readClusterLines } from './cluster-lines.js';
import { type CheckContext, type DoctorNode, ask } from './context.js';
import { locate, openNode } from './locate.js';
import { databaseOf, urlAt } from './url.js';

/** Finds out what is behind a URL and connects to each primary. Throws a `CliError` where nobody answers. */
export async function survey(
  url: string,
  args: Arguments,
): Promise<CheckContext> {
  const { keyPrefix, patterns, group, measureMs, readOnly } = args;
  const { node, isCluster, sentinel } = await locate(url, args);
  const base = {
    ...{ url, args, group, measureMs, readOnly, isCluster },
    database: databaseOf(url),
    // Channels and ACLs name keys as Redis does.
    patterns: patterns.map((pattern) => escapeGlob(keyPrefix) + pattern),
    namespace: keyPrefix + args.namespace,
    ...(sentinel && { sentinel }),
  };
  if (!isCluster)
    return { ...base, nodes: [node], clusterLines: [], unreachable: [] };
  try {
    return { ...base, ...(await membersOf(node)) };
  } finally {
    node.redis.disconnect();
  }
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
      ...(await openNode(urlAt(first.url, host, port))),
      slots,
    })),
  );
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
