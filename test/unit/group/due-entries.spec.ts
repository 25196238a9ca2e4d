import { beforeEach, describe, expect, it } from 'vitest';
import type { DeadlineEntry } from '../../../lib/deadlines/deadline-index.js';
import { DueEntries } from '../../../lib/group/due-entries.js';
import type { RedisIndex } from '../../../lib/group/redis-index.js';
import type { GroupNode } from '../../../lib/group/group-node.js';
import { eventually } from '../../support/eventually.js';

/** A node whose keys begin with its name; judged keys leave the list, as settling takes them out. */
class Node {
  watched = true;
  judged: string[] = [];
  work: () => Promise<void> = () => Promise.resolve();

  constructor(
    readonly name: string,
    private readonly list: DeadlineEntry[],
  ) {}

  async judge(entries: readonly DeadlineEntry[]): Promise<void> {
    await this.work();
    for (const entry of entries) {
      this.judged.push(entry.key.toString());
      this.list.splice(this.list.indexOf(entry), 1);
    }
  }
}

const NOW = 1_000;
let list: DeadlineEntry[];
let a: Node;
let b: Node;
let returns: number;
let due: DueEntries;

const as = (node: Node) => node as unknown as GroupNode;
const add = (key: string, at: number) =>
  list.push({ key: Buffer.from(key), at });
const keys = (entries: readonly DeadlineEntry[]) =>
  entries.map(({ key }) => key.toString());

beforeEach(() => {
  list = [];
  a = new Node('a', list);
  b = new Node('b', list);
  returns = 0;
  const range = (from: number, to: number, limit: number) =>
    Promise.resolve(
      list
        .filter(({ at }) => at >= from && at < to)
        .toSorted((x, y) => x.at - y.at)
        .slice(0, limit),
    );
  const next = (from: number) =>
    Promise.resolve(
      list
        .map(({ at }) => at)
        .toSorted((x, y) => x - y)
        .find((at) => at >= from),
    );
  const index = {
    range,
    next,
    peek: async (now: number, limit: number) => ({
      due: await range(-Infinity, now, limit),
      next: await next(now),
    }),
  } as unknown as RedisIndex;
  due = new DueEntries(index, {
    alone: false,
    nodeOf: (key) =>
      [a, b]
        .map(as)
        .find((n) => key.toString().startsWith((n as unknown as Node).name)),
    onReturn: () => returns++,
    onError: () => undefined,
  });
});

/** As the watch does: peeks and judges until nothing more is due. */
async function drain(limit = 3): Promise<void> {
  for (;;) {
    const found = await due.peek(NOW, limit);
    if (found.due.length === 0) return;
    await due.judge(found.due);
  }
}

describe('DueEntries', () => {
  it('passes over the keys of a node that is not watched, and holds up no others', async () => {
    a.watched = false;
    for (let i = 0; i < 10; i++) add(`a${i}`, i);
    for (let i = 0; i < 10; i++) add(`b${i}`, 20 + i);
    add('b-later', NOW + 5);

    await drain();

    expect(b.judged).toHaveLength(10);
    expect(keys(list)).toHaveLength(11);
    expect(due.heldUp).toBe(0);
    expect((await due.peek(NOW, 3)).next).toBe(NOW + 5);
  });

  it('comes back to them when the node is watched', async () => {
    a.watched = false;
    for (let i = 0; i < 10; i++) add(`a${i}`, i);
    await drain();
    expect(a.judged).toEqual([]);

    a.watched = true;
    due.restart();
    await drain();

    expect(a.judged).toHaveLength(10);
    expect(due.heldUp).toBeUndefined();
  });

  it('goes on without a node that does not answer, and says that its keys are not settled', async () => {
    let answer!: () => void;
    a.work = () => new Promise((resolve) => (answer = resolve));
    add('a1', 1);
    add('b1', 2);

    await drain();

    expect(b.judged).toEqual(['b1']);
    expect(due.heldUp).toBe(1);
    expect(due.isIdle(as(a))).toBe(false);
    expect(due.isIdle(as(b))).toBe(true);
    answer();
    await eventually(() => expect(returns).toBe(1));
    await drain();
    expect(a.judged).toEqual(['a1']);
    expect(due.heldUp).toBeUndefined();
    expect(due.isIdle(as(a))).toBe(true);
  });

  it('comes back to a node whose look failed, and counts nothing of it as settled before', async () => {
    let fails = 1;
    a.work = () =>
      fails-- > 0 ? Promise.reject(new Error('MOVED')) : Promise.resolve();
    add('a1', 1);

    await drain();

    expect(due.isIdle(as(a))).toBe(false);
    expect(due.heldUp).toBe(1);
    await eventually(() => expect(returns).toBe(1));
    await drain();
    expect(a.judged).toEqual(['a1']);
    expect(due.isIdle(as(a))).toBe(true);
  });

  it('finds what is brought behind what it passed over', async () => {
    a.watched = false;
    add('a1', 100);
    add('b1', 200);
    await drain();

    add('b0', 50);
    due.brought(50);
    await drain();

    expect(b.judged).toEqual(['b1', 'b0']);
  });
});
