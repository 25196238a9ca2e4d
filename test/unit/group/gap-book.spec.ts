import { describe, expect, it } from 'vitest';
import { GapBook } from '../../../lib/group/gap-book.js';

describe('GapBook', () => {
  it('covers nothing at first', () => {
    const book = new GapBook();
    expect(book.isOpen).toBe(false);
    expect(book.covers(0)).toBe(false);
    book.end(5);
    expect(book.covers(5)).toBe(false);
  });

  it('covers a gap from its beginning on while it is open, and both ends afterwards', () => {
    const book = new GapBook();
    book.begin(10);
    expect(book.isOpen).toBe(true);
    expect([9, 10, 1e15].map((at) => book.covers(at))).toEqual([
      false,
      true,
      true,
    ]);

    book.end(20);
    expect(book.isOpen).toBe(false);
    expect([9, 10, 20, 21].map((at) => book.covers(at))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('begins at the earliest of several beginnings', () => {
    const book = new GapBook();
    for (const from of [10, 5, 8]) book.begin(from);
    book.end(20);
    expect([4, 5].map((at) => book.covers(at))).toEqual([false, true]);
  });

  it('keeps gaps apart, and drops one that ended before it began', () => {
    const book = new GapBook();
    for (const [from, to] of [
      [10, 20],
      [30, 40],
      [60, 50],
    ] as const) {
      book.begin(from);
      book.end(to);
    }
    expect([15, 25, 35, 55, 60].map((at) => book.covers(at))).toEqual([
      true,
      false,
      true,
      false,
      false,
    ]);
  });

  it('remembers a gap for as long as it is told to after all is settled', () => {
    const book = new GapBook(100);
    book.begin(10);
    book.end(20);
    book.settle(110);
    expect([9, 10, 20, 21].map((at) => book.covers(at))).toEqual([
      ...[false, true, true, false],
    ]);
    book.settle(121);
    expect(book.isEmpty).toBe(true);
  });

  it('forgets the oldest of more than a thousand', () => {
    const book = new GapBook();
    for (let i = 0; i < 1_001; i++) {
      book.begin(i * 10);
      book.end(i * 10 + 5);
    }
    expect([0, 10, 10_000].map((at) => book.covers(at))).toEqual([
      false,
      true,
      true,
    ]);
  });
});
