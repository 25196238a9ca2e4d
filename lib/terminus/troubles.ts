import type { RedisExpiryStatus } from '../engine/status.js';
import { invalidOption } from '../errors/redis-expiry.error.js';
import type { NodeStatus } from '../listening/node-status.js';

/** Beyond what the module is not healthy. All are whole numbers or parts of them from 0 on. */
export interface HealthLimits {
  /**
   * Ms for which a node may not be listened to, and for which a group may have no leader. A group's leader is looked for
   * every 2 s, so that less than 5,000 makes no sense for groups.
   * @default 10_000
   */
  maxGap?: number;
  /** Ms that 99 of 100 of the newest 10,000 events may be late at most. @default none */
  maxLateness?: number;
  /** Events that may wait: in each group, and in this instance. @default none */
  maxWaiting?: number;
  /** Dead letters that each group may have. @default none */
  maxDead?: number;
}

/** One reason why the module is not healthy. */
export interface Trouble {
  /** The node that is not listened to, and how it is with it. */
  readonly node?: string;
  readonly state?: NodeStatus['state'];
  /** The group that it is about; none for broadcast. */
  readonly group?: string;
  /** The limit that is passed. */
  readonly limit: keyof HealthLimits;
  /** Since when; for a figure since when the indicator sees it. */
  readonly since?: Date;
  readonly reason: string;
}

/** Limits that were checked. */
export type CheckedLimits = HealthLimits & { readonly maxGap: number };

/** @throws RedisExpiryError `INVALID_OPTION_MAX_…`, or with the name of a limit that does not exist */
export function checkLimits(given: HealthLimits): CheckedLimits {
  const { maxGap = 10_000, maxLateness, maxWaiting, maxDead } = given;
  const isWrong = (value: unknown): boolean =>
    value !== undefined && !(typeof value === 'number' && value >= 0);
  const accepted = 'a number from 0 on';
  if (isWrong(maxGap)) throw invalidOption('maxGap', maxGap, accepted);
  if (isWrong(maxLateness))
    throw invalidOption('maxLateness', maxLateness, accepted);
  if (isWrong(maxWaiting))
    throw invalidOption('maxWaiting', maxWaiting, accepted);
  if (isWrong(maxDead)) throw invalidOption('maxDead', maxDead, accepted);
  const known = { maxGap, maxLateness, maxWaiting, maxDead };
  for (const [name, value] of Object.entries(given))
    if (!(name in known))
      throw invalidOption(
        ...([
          name,
          value,
          `no such limit; ${Object.keys(known).join(', ')}`,
        ] as const),
      );
  return { ...given, maxGap };
}

/** All that is wrong by these limits; nothing where all is well. */
export function troublesOf(
  status: RedisExpiryStatus,
  limits: CheckedLimits,
): Trouble[] {
  const { nodes, groups, lateness, queued } = status;
  const { maxGap, maxLateness, maxWaiting } = limits;
  const troubles = nodes.flatMap((node) => ofNode(node, maxGap));
  if (isBeyond(lateness.p99, maxLateness))
    troubles.push({
      limit: 'maxLateness',
      reason: `99 of 100 events are up to ${Math.round(lateness.p99!)} ms late`,
    });
  if (isBeyond(queued, maxWaiting))
    troubles.push({
      limit: 'maxWaiting',
      reason: `${queued} events wait in this instance`,
    });
  return [...troubles, ...groups.flatMap((group) => ofGroup(group, limits))];
}

function ofGroup(
  {
    group,
    nodes,
    partitions,
    waiting,
    dead,
    lastError,
  }: RedisExpiryStatus['groups'][number],
  { maxGap, maxWaiting, maxDead }: CheckedLimits,
): Trouble[] {
  const troubles: Trouble[] = [];
  for (const node of nodes)
    for (const trouble of ofNode(node, maxGap))
      troubles.push({ group, ...trouble });
  const lost = partitions.filter(
    ({ leads, leaderSeen }) => !leads && isOver(leaderSeen, maxGap),
  );
  if (lost.length > 0) {
    const which = lost.map(({ tag }) => tag).join(', ');
    const many = partitions.length > 1 ? ` (partitions ${which})` : '';
    troubles.push({
      group,
      limit: 'maxGap',
      since: earliest(lost.map(({ leaderSeen }) => leaderSeen)),
      reason: `no instance is known to lead${many}: Redis is not reached, or no instance can take the lease${lastError === undefined ? '' : ` (${lastError})`}`,
    });
  }
  if (isBeyond(waiting, maxWaiting))
    troubles.push({
      group,
      limit: 'maxWaiting',
      reason: `${waiting} events wait`,
    });
  if (isBeyond(dead, maxDead))
    troubles.push({
      group,
      limit: 'maxDead',
      reason: `there are ${dead} dead letters`,
    });
  return troubles;
}

function ofNode(node: NodeStatus, maxGap: number): Trouble[] {
  if (node.state === 'listening') return [];
  const { lastGap } = node;
  const isOpen = lastGap !== undefined && lastGap.to === undefined;
  const since = earliest(isOpen ? [node.since, lastGap.from] : [node.since]);
  if (!isOver(since, maxGap)) return [];
  const refused = node.refused.map(
    ({ pattern, reason }) => `${pattern}: ${reason}`,
  );
  const reason =
    node.lastError ??
    (refused.join('; ') || (isOpen ? lastGap.reason : `it is ${node.state}`));
  const { address, state } = node;
  return [{ node: address, state, limit: 'maxGap', since, reason }];
}

const earliest = (dates: readonly Date[]): Date =>
  new Date(Math.min(...dates.map((date) => date.getTime())));

const isOver = (since: Date, ms: number): boolean =>
  Date.now() - since.getTime() > ms;

const isBeyond = (
  value: number | undefined,
  limit: number | undefined,
): boolean => value !== undefined && limit !== undefined && value > limit;
