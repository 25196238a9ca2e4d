import { expect, it } from 'vitest';
import { GapLog } from '../../../lib/listening/gap.js';
import { LogBook } from '../../support/logs.js';

it('keeps and logs a gap from its first cause to its end', () => {
  const logs = new LogBook();
  const gaps = new GapLog('redis:1', logs);
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
