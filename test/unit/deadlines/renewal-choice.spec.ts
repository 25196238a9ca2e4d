import { expect, it } from 'vitest';
import { RenewalChoice } from '../../../lib/deadlines/renewal-choice.js';

const report = (keys: number, volatile?: number) => ({
  ...{ at: new Date(), keys, duration: 1 },
  ...(volatile !== undefined && { volatile }),
});

it('RenewalChoice wants no renewals where keys dominate, and keeps to what it chose while it is a near thing', () => {
  const choice = new RenewalChoice();
  expect(choice.areWanted).toBe(true);
  const course: [
    keys: number,
    volatile: number | undefined,
    wanted: boolean,
  ][] = [
    [0, 0, true],
    [999, 999, true],
    [1_000, 1_600, true],
    [1_000, 1_500, false],
    [1_000, 1_900, false],
    [1_000, undefined, false],
    [1_000, 2_001, true],
    [1_000, 1_600, true],
    [100_000, 100_001, false],
    [999, 999, true],
  ];

  const chosen = course.map(([keys, volatile]) => {
    choice.take(report(keys, volatile));
    return choice.areWanted;
  });

  expect(chosen).toEqual(course.map(([, , wanted]) => wanted));
});
