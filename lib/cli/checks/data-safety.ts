import type { CheckContext, DoctorNode } from '../context.js';
import { pasteable, setting } from '../context.js';
import type { Check, Finding } from '../finding.js';

/** What may take a group's deadlines and events away: eviction, a restart, writes that are refused. */
export const dataSafety: Check = {
  area: 'data safety',
  run: async (context) => {
    if (context.group === undefined)
      return [
        {
          level: 'skipped',
          saw: 'broadcast keeps nothing in Redis; give --group to look at what a group needs',
        },
      ];
    const found = await Promise.all(
      context.nodes.map((node) => look(node, context)),
    );
    return found.flat();
  },
};

async function look(
  node: DoctorNode,
  { group }: CheckContext,
): Promise<Finding[]> {
  const { info, address } = node;
  if (info.size === 0)
    return [{ level: 'skipped', node: address, saw: 'INFO is forbidden' }];
  return [...memory(node, group!), await persistence(node), ...refusals(node)];
}

function memory(node: DoctorNode, group: string): Finding[] {
  const { info, address } = node;
  const policy = info.get('maxmemory_policy') ?? 'noeviction';
  const [used, max, evicted] = ['used_memory', 'maxmemory', 'evicted_keys'].map(
    (name) => Number(info.get(name) ?? 0),
  ) as [number, number, number];
  const findings: Finding[] = [];
  const evicts = policy.startsWith('allkeys');
  findings.push({
    level: evicts ? 'warning' : 'ok',
    node: address,
    saw: `maxmemory-policy is ${policy}`,
    ...(evicts && {
      why: `The server may evict the keys of group ${JSON.stringify(group)}, and with them deadlines and events.`,
      mend: pasteable(node, 'CONFIG', 'SET', 'maxmemory-policy', 'noeviction'),
    }),
  });
  if (evicted > 0)
    findings.push({
      level: 'warning',
      node: address,
      saw: `${evicted} keys were evicted since its start`,
      why: 'A key that is evicted never expires: no handler runs for it.',
      figures: { evicted },
    });
  if (max > 0 && used > 0.9 * max)
    findings.push({
      level: 'warning',
      node: address,
      saw: `${Math.round((100 * used) / max)} % of maxmemory is in use`,
      why: 'Once it is full, keys are evicted or writes are refused, and a group waits until there is room.',
      mend: pasteable(node, 'CONFIG', 'SET', 'maxmemory', String(max * 2)),
      figures: { used, max },
    });
  return findings;
}

async function persistence(node: DoctorNode): Promise<Finding> {
  const base = { node: node.address };
  if (node.info.get('aof_enabled') === '1')
    return { ...base, level: 'ok', saw: 'an append-only file is kept' };
  const save = await setting(node.redis, 'save');
  return {
    ...base,
    level: 'warning',
    saw: save
      ? `snapshots are kept (save ${save}), and no append-only file`
      : 'no append-only file is kept',
    why: 'A crash takes the deadlines and events since the newest snapshot with it.',
    mend: pasteable(node, 'CONFIG', 'SET', 'appendonly', 'yes'),
  };
}

/** Writes that fail because the disk does. */
function refusals(node: DoctorNode): Finding[] {
  return ['rdb_last_bgsave_status', 'aof_last_write_status'].flatMap(
    (name): Finding[] =>
      node.info.get(name) !== 'err'
        ? []
        : [
            {
              level: 'failure',
              node: node.address,
              saw: `${name} is err`,
              why: 'While it cannot write to its disk Redis refuses writes, and a group waits. Look at the disk and at the log of Redis.',
            },
          ],
  );
}
