import type { Topology } from '../topology/topology.js';
import { slotsOfNumbered } from '../topology/hash-slot.js';
import { groupKeys } from './group-keys.js';

/** What a partition of a group is called. */
export interface PartitionName {
  /** The hash tag of its keys. */
  readonly tag: string;
  /** 0 for the home partition. */
  readonly number: number;
}

/** The highest number of a partition: ids of dead letters have six digits for it. */
const MOST = 999_999;

/** The name of a group's partition by its number. */
export const partitionName = (
  group: string,
  number: number,
): PartitionName => ({
  tag: number === 0 ? group : `${group}:${number}`,
  number,
});

/** The name of a group's partition by its tag; undefined for what is no such tag. */
export function readTag(group: string, tag: string): PartitionName | undefined {
  if (tag === group) return { tag, number: 0 };
  if (!tag.startsWith(`${group}:`)) return undefined;
  const number = tag.slice(group.length + 1);
  return /^[1-9]\d{0,5}$/.test(number)
    ? { tag, number: Number(number) }
    : undefined;
}

/**
 * Which partitions a group on a Cluster is to have, and which of them watches which node. Everything follows
 * from the slot map alone, so that all instances come to the same result as soon as they know the same map.
 *
 * A partition is where the slot of its tag is. Where two of them are on one node, the one with the lowest
 * number *watches* that node's keys, and the others are *drained*.
 */
export class PartitionTags {
  constructor(
    private readonly group: string,
    private readonly ownPrefix: string,
    private readonly topology: Pick<
      Topology,
      'nodes' | 'nodeOf' | 'nodeOfSlot'
    >,
  ) {}

  /** The address of the node that serves a partition, as far as is known. */
  nodeOf({ tag, number }: PartitionName): string | undefined {
    const { index } = groupKeys(this.ownPrefix, tag, number);
    return this.topology.nodeOf(Buffer.from(index))?.address;
  }

  /** Of the partitions in use, those that watch, by the addresses of their nodes. */
  watching(inUse: Iterable<PartitionName>): ReadonlyMap<string, PartitionName> {
    const watching = new Map<string, PartitionName>();
    for (const name of inUse) {
      const node = this.nodeOf(name);
      if (node === undefined) continue;
      const other = watching.get(node);
      if (!other || name.number < other.number) watching.set(node, name);
    }
    return watching;
  }

  /**
   * The partitions that are to be added: for each node that serves slots and has none, the one with the lowest
   * number whose slot that node serves.
   */
  missing(inUse: Iterable<PartitionName>): PartitionName[] {
    const watched = this.watching(inUse);
    const lacking = new Set(
      this.topology.nodes
        .filter(({ address }) => !watched.has(address))
        // A primary without slots has no keys either.
        .filter((node) => node.keyWith(this.ownPrefix) !== undefined)
        .map(({ address }) => address),
    );
    const missing: PartitionName[] = [];
    let number = -1;
    for (const slot of slotsOfNumbered(`${this.group}:`)) {
      number++;
      if (lacking.size === 0 || number > MOST) break;
      if (number === 0) continue;
      const node = this.topology.nodeOfSlot(slot);
      if (node !== undefined && lacking.delete(node.address))
        missing.push(partitionName(this.group, number));
    }
    return missing;
  }
}
