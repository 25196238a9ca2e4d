import { describe, expect, it } from 'vitest';
import type { DeadlineEntry } from '../../../lib/deadlines/deadline-index.js';
import { EntryCursor } from '../../../lib/group/entry-cursor.js';

const entry = (key: string, at: number): DeadlineEntry => ({
  key: Buffer.from(key),
  at,
});

/** An index that is a list. */
const listOf = (entries: DeadlineEntry[]) => ({
  range: (from: number, to: number, limit: number) =>
    Promise.resolve(
      entries
        .filter(({ at }) => at >= from && at < to)
        .toSorted((a, b) => a.at - b.at)
        .slice(0, limit),
    ),
});

const keys = (entries: readonly DeadlineEntry[]) =>
  entries.map(({ key }) => key.toString());

describe('EntryCursor', () => {
  it('gives each entry once, in order, though many share a deadline', async () => {
    const all = [
      entry('a', 1),
      ...Array.from({ length: 10 }, (_, i) => entry(`s${i}`, 2)),
      entry('z', 3),
    ];
    const cursor = new EntryCursor(listOf(all));
    const seen: string[] = [];
    for (;;) {
      const page = await cursor.page(10, 3);
      if (page.length === 0) break;
      expect(page.length).toBeLessThanOrEqual(3);
      seen.push(...keys(page));
      cursor.pass(page);
    }

    expect(seen).toEqual(keys(all));
  });

  it('gives what was not passed again, and nothing that is due later', async () => {
    const cursor = new EntryCursor(listOf([entry('a', 1), entry('b', 5)]));

    expect(keys(await cursor.page(5, 3))).toEqual(['a']);
    expect(keys(await cursor.page(5, 3))).toEqual(['a']);
    expect(keys(await cursor.page(6, 3))).toEqual(['a', 'b']);
  });

  it('begins anew where it is told to', async () => {
    const cursor = new EntryCursor(listOf([entry('a', 1), entry('b', 5)]));
    cursor.pass(await cursor.page(10, 3));
    expect(cursor.from).toBe(5);
    expect(await cursor.page(10, 3)).toEqual([]);
    cursor.restart(5);
    expect(keys(await cursor.page(10, 3))).toEqual(['b']);
    cursor.restart();
    expect(keys(await cursor.page(10, 3))).toEqual(['a', 'b']);
  });
});
