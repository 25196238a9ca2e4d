import { CliError } from './cli-error.js';
import { type CheckContext, type DoctorNode, setting } from './context.js';
import type { Finding } from './finding.js';
import { PARAMETER, flagsFinding, lettersFor } from './flags.js';
import { openNode } from './locate.js';
import { urlAt } from './url.js';

/**
 * Whether replicas can be reached, and announce expiries from the moment on at which one of them is promoted: Redis
 * does not replicate its settings.
 */
export async function replicasOf(context: CheckContext): Promise<Finding[]> {
  const { nodes, clusterLines } = context;
  const places = [
    ...clusterLines.filter(
      ({ isPrimary, isFailing }) => !isPrimary && !isFailing,
    ),
    ...nodes.flatMap((node) => (context.isCluster ? [] : linesOf(node))),
  ];
  const found = places.map(({ host, port }) => look(host, port, context));
  return (await Promise.all(found)).flat();
}

/** The replicas that a primary tells of. */
const linesOf = ({ info }: DoctorNode): { host: string; port: number }[] =>
  [...info].flatMap(([name, text]) => {
    const [, host, port] = /^ip=(.+?),port=(\d+),/.exec(text) ?? [];
    return /^slave\d+$/.test(name) && host
      ? [{ host, port: Number(port) }]
      : [];
  });

async function look(
  host: string,
  port: number,
  context: CheckContext,
): Promise<Finding[]> {
  const address = `${host}:${port}`;
  let replica: DoctorNode;
  try {
    replica = await openNode(urlAt(context.url, host, port));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    // A server that is named alone is never replaced by another one.
    const isReplaced = context.isCluster || context.sentinel !== undefined;
    return [
      {
        level: isReplaced ? 'warning' : 'skipped',
        node: address,
        saw: `a replica: ${error.message}`,
        ...(isReplaced && {
          why: 'If it is promoted, its expiries are not heard from here.',
        }),
      },
    ];
  }
  try {
    const text = await setting(replica.redis, PARAMETER);
    const letters = lettersFor(replica, context.group);
    // What `A` hides cannot be found out on a replica.
    if (text?.includes('A')) letters.delete('n');
    if (text === undefined) return [];
    const { saw, ...finding } = flagsFinding(replica, text, letters);
    const isMissing = finding.level !== 'ok';
    return [
      {
        ...finding,
        saw: `a replica: ${saw}`,
        ...(isMissing && {
          why: 'Settings are not replicated: once it is promoted, it announces less until the module has added the letters.',
        }),
      },
    ];
  } finally {
    replica.redis.disconnect();
  }
}
