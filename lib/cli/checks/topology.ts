import { pasteable } from '../context.js';
import type { CheckContext } from '../context.js';
import type { Check, Finding } from '../finding.js';
import { replicasOf } from '../replicas.js';
import { SLOTS } from '../../topology/hash-slot.js';

/** Whether every primary that holds keys can be listened to, and whether it is one. */
export const topology: Check = {
  area: 'topology',
  run: async (context) => [
    ...(context.isCluster ? clusterOf(context) : aloneOf(context)),
    ...sentinelOf(context),
    ...copiesOf(context),
    ...(await replicasOf(context)),
  ],
};

function aloneOf({ nodes: [node] }: CheckContext): Finding[] {
  const { address, info } = node!;
  const role = info.get('role');
  if (role !== 'slave')
    return [
      {
        level: role === undefined ? 'skipped' : 'ok',
        node: address,
        saw:
          role === undefined
            ? 'INFO is forbidden, so its role is not known'
            : 'one server, a primary',
      },
    ];
  const primary = `${info.get('master_host')}:${info.get('master_port')}`;
  return [
    {
      level: 'failure',
      node: address,
      saw: `it is a replica of ${primary}`,
      why: 'Replicas announce no expiries and take no writes. Give the module the primary, or the Sentinels, or the Cluster.',
      mend: `npx nestjs-redis-expiry doctor redis://${primary}`,
    },
  ];
}

function clusterOf({
  clusterLines,
  unreachable,
  nodes,
}: CheckContext): Finding[] {
  const covered = clusterLines
    .filter(({ isPrimary, isFailing }) => isPrimary && !isFailing)
    .flatMap(({ slots }) => slots)
    .reduce((sum, [from, to]) => sum + to - from + 1, 0);
  const findings: Finding[] = unreachable.map(({ address, reason }) => ({
    level: 'failure',
    node: address,
    saw: reason,
    why: 'Expiries are announced by the primary that has the key alone, so each must be reached.',
  }));
  findings.push({
    level: covered < SLOTS ? 'failure' : 'ok',
    saw: `a Cluster: ${nodes.length} primaries reached, ${covered} of ${SLOTS} slots served`,
    ...(covered < SLOTS && {
      why: 'Keys of the other slots can neither be read nor written.',
      mend: `redis-cli --cluster fix ${nodes[0]!.address}`,
    }),
    figures: { primaries: nodes.length, slots: covered },
  });
  for (const { host, port, isFailing } of clusterLines)
    if (isFailing)
      findings.push({
        level: 'warning',
        node: `${host}:${port}`,
        saw: 'other nodes cannot reach it',
        why: 'It may be about to fail over.',
      });
  return findings;
}

function sentinelOf({ sentinel }: CheckContext): Finding[] {
  if (!sentinel) return [];
  const { name, quorum } = sentinel;
  const isWell = quorum.startsWith('OK');
  return [
    {
      level: isWell ? 'ok' : 'warning',
      saw: `Sentinels watch it as ${JSON.stringify(name)}: ${quorum}`,
      ...(!isWell && {
        why: 'Without a quorum nothing replaces a primary that dies.',
      }),
    },
  ];
}

/** A failover keeps what the replicas have. */
function copiesOf({ nodes, group }: CheckContext): Finding[] {
  return nodes.flatMap((node): Finding[] => {
    const count = Number(node.info.get('connected_slaves') ?? 0);
    if (count === 0 || group === undefined) return [];
    return [
      {
        level: 'ok',
        node: node.address,
        saw: `${count} replica(s); what they have not copied yet is lost by a failover`,
        mend: pasteable(node, 'CONFIG', 'SET', 'min-replicas-to-write', '1'),
        figures: { replicas: count },
      },
    ];
  });
}
