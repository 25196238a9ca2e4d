import { describe, expect, it } from 'vitest';
import {
  type SlotOwners,
  numberOf,
  planPartitions,
  slotsOfPartitions,
  tagOf,
} from '../../../lib/group/partition-tags.js';
import { SLOTS, slotOf } from '../../../lib/topology/hash-slot.js';
import { Random } from '../../support/random.js';

const slotOfNumber = slotsOfPartitions('rx:', 'presence');

/** Slots cut into equal ranges, one for each node. */
const split = (...nodes: string[]): SlotOwners =>
  Array.from(
    { length: SLOTS },
    (_, slot) => nodes[Math.floor((slot * nodes.length) / SLOTS)],
  );

const planOf = (owners: SlotOwners, registered: readonly number[] = []) => {
  const { active, ...rest } = planPartitions(owners, registered, slotOfNumber);
  return { ...rest, active: Object.fromEntries(active) };
};

const nodes = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `n${i}`);

describe('the partitions of a group', () => {
  it('are one, at home, on a Cluster of one primary', () => {
    expect(planOf(split('a'))).toEqual({
      ...{ active: { a: 0 }, missing: [], draining: [], unserved: [] },
    });
  });

  it('are one for each primary, whose slot that one serves', () => {
    const owners = split('a', 'b', 'c');
    const { active, missing } = planOf(owners);

    expect(Object.keys(active).toSorted()).toEqual(['a', 'b', 'c']);
    for (const [node, number] of Object.entries(active)) {
      const keys = `rx:{${tagOf('presence', number)}}:index`;
      expect(owners[slotOf(keys)]).toBe(node);
    }
    expect(missing).toHaveLength(2);
    expect(Object.values(active)).toContain(0);
  });

  it('stay the same once they are registered', () => {
    const owners = split('a', 'b', 'c');
    const { active, missing } = planOf(owners);
    expect(planOf(owners, missing)).toEqual({
      ...{ active, missing: [], draining: [], unserved: [] },
    });
  });

  it('come one at a time where a primary is added, and leave the others alone', () => {
    const before = planOf(split('a', 'b', 'c'));
    // A fourth one takes a part of the slots of the third that holds no partition's slot.
    const owners = [...split('a', 'b', 'c')];
    const own = slotOfNumber(before.active['c']!);
    const from = SLOTS - 2_000;
    for (let slot = from; slot < SLOTS; slot++)
      if (slot !== own) owners[slot] = 'd';
    const after = planOf(owners, before.missing);

    expect(after.active).toEqual({
      ...before.active,
      d: after.missing[0],
    });
    expect(after.missing).toHaveLength(1);
    expect(after.draining).toEqual([]);
  });

  it('are drained where a primary is removed, the later of two first', () => {
    const before = planOf(split('a', 'b', 'c'));
    const gone = before.active['b']!;
    const owners = split('a', 'b', 'c').map((o) => (o === 'b' ? 'a' : o));
    const after = planOf(owners, before.missing);

    const [first, last] = [before.active['a']!, gone].toSorted((x, y) => x - y);
    expect(after.active).toEqual({ a: first, c: before.active['c'] });
    expect(after.draining).toEqual([last]);
    expect(after.missing).toEqual([]);
  });

  it('follow their slots to another primary, and the one left behind gets another', () => {
    const before = planOf(split('a', 'b'));
    const [own] = before.missing;
    const home = before.active['a'] === 0 ? 'a' : 'b';
    const other = home === 'a' ? 'b' : 'a';
    const owners = [...split('a', 'b')];
    owners[slotOfNumber(own!)] = home;
    const after = planOf(owners, before.missing);

    expect(after.active[home]).toBe(0);
    expect(after.draining).toEqual([own]);
    expect(after.missing).toEqual([after.active[other]]);
    expect(after.missing).not.toEqual(before.missing);
  });

  it('keep to themselves while nobody serves their slots', () => {
    const before = planOf(split('a', 'b', 'c'));
    const owners = split('a', 'b', 'c').map((o) => (o === 'b' ? undefined : o));
    const after = planOf(owners, before.missing);
    expect(after.unserved).toEqual([before.active['b']]);
    expect(after.draining).toEqual([]);
    expect(after.missing).toEqual([]);
    expect(after.active).toEqual({
      a: before.active['a'],
      c: before.active['c'],
    });
  });

  it('are the same for everybody, in whatever order they learn of the tags', () => {
    const random = new Random(11);
    const owners = Array.from({ length: SLOTS }, () => random.pick(nodes(9)));
    const registered = [4, 9, 1, 12, 700, 33];
    const plan = planOf(owners, registered);
    for (let i = 0; i < 5; i++)
      expect(planOf(owners, random.shuffle(registered))).toEqual(plan);
    // Registering what is missing changes nothing more.
    const next = planOf(owners, [...registered, ...plan.missing]);
    expect(next).toEqual({ ...plan, missing: [] });
  });

  it('are there for a primary of a single slot', () => {
    for (const slot of [0, 1, 7_777, SLOTS - 1]) {
      const owners: (string | undefined)[] = [...split('a')];
      owners[slot] = 'b';
      const { active } = planOf(owners);
      expect(Object.keys(active).toSorted()).toEqual(['a', 'b']);
      expect(slotOfNumber(active['b']!)).toBe(slot);
    }
  });

  it('are as many as there are primaries, however many', () => {
    const { active } = planOf(split(...nodes(100)));
    expect(Object.keys(active)).toHaveLength(100);
    expect(new Set(Object.values(active)).size).toBe(100);
  });
});

describe('the tag of a partition', () => {
  it.for<[number, string]>([
    [0, 'presence'],
    [1, 'presence:1'],
    [999_999, 'presence:999999'],
  ])('of number %i is %s', ([number, tag]) => {
    expect(tagOf('presence', number)).toBe(tag);
    expect(numberOf('presence', tag)).toBe(number);
  });

  it.for(['', 'other', 'presence:', 'presence:0', 'presence:01', 'presence:x'])(
    'is not %j',
    (tag) => expect(numberOf('presence', tag)).toBeUndefined(),
  );
  it.for(['presence:1000000', 'presence:1:1'])('is not %j', (tag) =>
    expect(numberOf('presence', tag)).toBeUndefined(),
  );
});
