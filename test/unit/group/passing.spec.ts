import { describe, expect, it } from 'vitest';
import { passing } from '../../../lib/group/passing.js';

const delays = (instances: number, count: number, isAway = false) =>
  Array.from(
    { length: count },
    (_, passes) => passing(passes, instances, isAway).delay,
  );

describe('passing on', () => {
  it('waits twice as long after two rounds of all instances', () => {
    expect(delays(1, 16).filter((_, i) => i % 2 === 0)).toEqual([
      ...[50, 100, 200, 400, 800, 1_600, 3_200, 5_000],
    ]);
    expect(delays(1, 16).filter((_, i) => i % 2 === 1)).toEqual([
      ...[50, 100, 200, 400, 800, 1_600, 3_200, 5_000],
    ]);
    expect(delays(3, 13)).toEqual([
      ...[50, 50, 50, 50, 50, 50, 100, 100, 100, 100, 100, 100, 200],
    ]);
    expect(delays(0, 3)).toEqual([50, 50, 100]);
  });

  it.for([
    [1, 5_000],
    [2, 2_500],
    [3, 1_667],
    [5, 1_000],
    [100, 1_000],
  ] as const)(
    'waits no longer than a limit (%i instances)',
    ([of, longest]) => {
      const passings = delays(of, 2_000).map((_, i) => passing(i, of, false));
      const first = passings.findIndex(({ isLongest }) => isLongest);
      expect(first).toBeGreaterThan(of);
      for (const [i, { delay, isLongest }] of passings.entries()) {
        expect(isLongest).toBe(i >= first);
        expect(delay < longest).toBe(i < first);
      }
      expect(passing(1e9, of, false)).toEqual({
        delay: longest,
        isLongest: true,
      });
    },
  );

  it('waits for seconds where no instance can take it', () => {
    expect(delays(3, 5, true)).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
  });
});
