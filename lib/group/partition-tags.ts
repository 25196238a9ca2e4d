import { slotOf } from '../topology/hash-slot.js';

/**
 * The highest number of a partition: enough for one in each single slot, as far as chance goes. Ids of
 * dead letters hold it in six digits.
 */
const MAX_NUMBER = 999_999;

/** The node that serves each slot, by its address; undefined where none does. */
export type SlotOwners = readonly (string | undefined)[];

/** The hash tag of a group's partition: that of the home partition (0) is the group's name. */
export const tagOf = (group: string, number: number): string =>
  number === 0 ? group : `${group}:${number}`;

/** The number of the partition that a tag names; undefined where it is no tag of that group. */
export function numberOf(group: string, tag: string): number | undefined {
  if (tag === group) return 0;
  if (!tag.startsWith(`${group}:`)) return undefined;
  const digits = tag.slice(group.length + 1);
  return /^[1-9]\d{0,5}$/.test(digits) ? Number(digits) : undefined;
}

/** What becomes of a group's partitions on a Cluster as it is now. */
export interface PartitionPlan {
  /** The partition of each primary that serves slots: address → number. */
  readonly active: ReadonlyMap<string, number>;
  /** Those of them that nobody has registered yet. */
  readonly missing: readonly number[];
  /** Registered ones that are nobody's: another partition comes first on their node. */
  readonly draining: readonly number[];
  /** Registered ones whose slot is served by no node, as far as is known: nothing can be said of them. */
  readonly unserved: readonly number[];
}

/**
 * Which partitions a group has on a Cluster. Whoever computes this from the same slots and the same
 * registered numbers gets the same result; and since it depends on nothing else, instances that see
 * different moments agree as soon as they see the same one.
 *
 * - The partition of a primary is, of the registered ones whose slot it serves, the first: home, then by number.
 * - Where it has none, it is the smallest number whose slot it serves. That one is `missing`: it is to be
 *   registered. A primary that serves a single slot has one, too: a million numbers leave no slot out.
 * - Every other registered partition is drained.
 *
 * @param slotOfNumber the slot of a partition's keys
 */
export function planPartitions(
  owners: SlotOwners,
  registered: Iterable<number>,
  slotOfNumber: (number: number) => number,
): PartitionPlan {
  const active = new Map<string, number>();
  const draining: number[] = [];
  const unserved: number[] = [];
  const known = new Set(registered).add(0);
  for (const number of [...known].toSorted((a, b) => a - b)) {
    const owner = owners[slotOfNumber(number)];
    if (owner === undefined) unserved.push(number);
    else if (active.has(owner)) draining.push(number);
    else active.set(owner, number);
  }
  const missing: number[] = [];
  const without = new Set(owners);
  without.delete(undefined);
  for (const owner of active.keys()) without.delete(owner);
  for (let n = 1; without.size > 0 && n <= MAX_NUMBER; n++) {
    const owner = owners[slotOfNumber(n)];
    if (known.has(n) || owner === undefined || !without.delete(owner)) continue;
    active.set(owner, n);
    missing.push(n);
  }
  return { active, missing, draining, unserved };
}

/** The slot of each partition of a group; computed once for each. */
export function slotsOfPartitions(
  ownPrefix: string,
  group: string,
): (number: number) => number {
  const slots: number[] = [];
  return (number) =>
    (slots[number] ??= slotOf(`${ownPrefix}{${tagOf(group, number)}}:`));
}
