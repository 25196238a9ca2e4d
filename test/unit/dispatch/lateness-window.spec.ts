import { expect, it } from 'vitest';
import { LatenessWindow } from '../../../lib/dispatch/lateness-window.js';

it('tells percentiles of the newest 10,000 events, and a histogram of all', () => {
  const window = new LatenessWindow();
  for (let i = 0; i < 10_000; i++) window.add(400_000);
  for (let i = 0; i < 10_000; i++) window.add(i < 9_950 ? 2 : 70);
  const { histogram, ...percentiles } = window.status;

  expect(percentiles).toEqual({ p50: 2, p99: 2, max: 70, count: 10_000 });
  expect(histogram).toEqual({
    boundaries: [
      ...[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
      ...[1, 5, 30, 60, 300],
    ],
    // A boundary belongs to the bucket below it; the last one is for what is later than all of them.
    counts: [0, 9_950, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 10_000],
    sum: 10_000 * 400 + 9_950 * 0.002 + 50 * 0.07,
    count: 20_000,
  });
});

it('puts a lateness of nothing into the first bucket', () => {
  const window = new LatenessWindow();
  window.add(0);
  window.add(1);
  window.add(1.1);

  expect(window.status.histogram.counts.slice(0, 2)).toEqual([2, 1]);
});
