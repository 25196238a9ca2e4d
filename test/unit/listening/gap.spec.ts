import { expect, it } from 'vitest';
import { ListeningGaps, unheardSince } from '../../../lib/listening/gap.js';
import { LogBook } from '../../support/logs.js';

it('keeps and logs a gap from its first cause to its end', () => {
  const logs = new LogBook();
  const gaps = new ListeningGaps('redis:1', undefined, logs);
  expect(gaps).toMatchObject({ last: undefined, count: 0, open: false });

  gaps.end();
  expect(logs.lines).toEqual([]);

  const from = Date.UTC(2026, 0, 2);
  gaps.begin(from, 'the connection closed');
  gaps.begin(from + 5_000, 'connection refused');
  expect(gaps).toMatchObject({ count: 1, open: true });
  expect(gaps.last).toEqual({
    node: 'redis:1',
    from: new Date(from),
    reason: 'the connection closed',
  });

  const before = Date.now();
  gaps.end();
  gaps.end();
  expect(gaps).toMatchObject({ count: 1, open: false });
  expect(gaps.last!.to!.getTime()).toBeGreaterThanOrEqual(before);
  expect(logs.texts('warn')).toEqual([
    expect.stringMatching(
      /^redis:1: .*the connection closed.*2026-01-02T00:00:00.000Z/,
    ),
    expect.stringMatching(
      /^redis:1: listening again.*2026-01-02T00:00:00.000Z/,
    ),
  ]);

  gaps.begin(from + 9_000, 'again');
  expect(gaps).toMatchObject({ count: 2, open: true });
});

it('tells who keeps the deadlines since when nobody listened, each time that it is lost', () => {
  const told: number[] = [];
  const keeper = { lost: (ago: number) => void told.push(ago) };
  const gaps = new ListeningGaps('redis:1', keeper, new LogBook());
  gaps.lost(undefined, 'it was never listened to');
  expect(told).toEqual([0]);
  expect(gaps).toMatchObject({ count: 0, lostSince: undefined });

  const from = Date.now() - 60_000;
  gaps.lost(from, 'the connection closed');
  gaps.lost(from + 10_000, 'flags were missing');
  expect(gaps).toMatchObject({ count: 1, lostSince: from });
  gaps.end();
  expect(gaps.lostSince).toBeUndefined();

  const [, first, second] = told;
  expect(first).toBeGreaterThanOrEqual(60_000);
  expect(second).toBeGreaterThanOrEqual(50_000);
  expect(second).toBeLessThan(first!);
});

it('takes a node that comes late for unheard since it, or a predecessor of it, may have been', () => {
  const since = 5_000;
  expect(unheardSince({ since, predecessors: [] })).toBe(5_000);
  expect(unheardSince({ since, predecessors: [undefined, 7_000] })).toBe(5_000);
  expect(unheardSince({ since, predecessors: [7_000, 4_000] })).toBe(4_000);
  // It was there from the start.
  expect(unheardSince({ since: undefined, predecessors: [4_000] })).toBe(
    undefined,
  );
});
