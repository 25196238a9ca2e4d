import { describe, expect, it } from 'vitest';
import {
  PartitionTags,
  partitionName,
  readTag,
} from '../../../lib/group/partition-tags.js';
import { slotOf } from '../../../lib/topology/hash-slot.js';
import type { RedisNode } from '../../../lib/topology/redis-node.js';

/** A Cluster of which each node serves the slots below its bound and above the one before. */
function slotsOf(bounds: Record<string, number>) {
  const nodes = Object.keys(bounds).map(
    (address, i, all) =>
      ({
        address,
        keyWith: (prefix: string) =>
          bounds[address]! > (bounds[all[i - 1]!] ?? 0) ? prefix : undefined,
      }) as RedisNode,
  );
  const nodeOfSlot = (slot: number) =>
    nodes.find(({ address }) => slot < bounds[address]!);
  return {
    nodes,
    nodeOf: (key: Buffer) => nodeOfSlot(slotOf(key)),
    nodeOfSlot,
  };
}
const tagsOf = (bounds: Record<string, number>): PartitionTags =>
  new PartitionTags('presence', 'rx:', slotsOf(bounds));
const home = partitionName('presence', 0);

describe('the partitions of a group', () => {
  it('are one for each node that serves slots, the home partition among them', () => {
    const tags = tagsOf({ a: 5_000, b: 10_000, c: 16_384, empty: 0 });
    const missing = tags.missing([home]);

    const all = [home, ...missing];
    expect(missing).toHaveLength(2);
    expect(new Set(all.map((name) => tags.nodeOf(name)))).toEqual(
      new Set(['a', 'b', 'c']),
    );
    expect(tags.missing(all)).toEqual([]);
    // None with a lower number would be there.
    for (const name of missing)
      for (let n = 1; n < name.number; n++)
        expect(tags.nodeOf(partitionName('presence', n))).not.toBe(
          tags.nodeOf(name),
        );
    expect([...tags.watching(all).values()]).toHaveLength(3);
  });

  it('are found on a node with a single slot', () => {
    const tags = tagsOf({ a: 7_000, b: 7_001, c: 16_384 });
    const onB = tags
      .missing([home])
      .filter((name) => tags.nodeOf(name) === 'b');
    expect(onB).toHaveLength(1);
    expect(slotOf(`{${onB[0]!.tag}}`)).toBe(7_000);
  });

  it('are found on a node whose only slot is that of no number below a hundred thousand', () => {
    const [onA] = tagsOf({ a: 1, b: 16_384 }).missing([home]);
    expect(onA).toEqual(partitionName('presence', 146_292));
  });

  it('are watched where the lowest number is, if two are on one node', () => {
    const all = [7, 0, 3].map((n) => partitionName('presence', n));
    expect([...tagsOf({ a: 16_384 }).watching(all)]).toEqual([['a', home]]);
    expect(tagsOf({ a: 16_384 }).missing(all)).toEqual([]);
    // While nobody serves a slot, nobody watches.
    expect(tagsOf({ a: 0 }).watching(all).size).toBe(0);
  });
});

describe('the tag of a partition', () => {
  it.for([0, 1, 12, 999_999])('tells its number: %d', (number) => {
    const { tag } = partitionName('presence', number);
    expect(readTag('presence', tag)).toEqual({ tag, number });
  });

  it.for([
    ...['presence:0', 'presence:01', 'presence:', 'presence:1000000'],
    ...['presence:x', 'other:1', 'other'],
  ])('%s is none', (tag) => {
    expect(readTag('presence', tag)).toBeUndefined();
  });
});
