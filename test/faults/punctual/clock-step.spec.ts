import { afterEach, describe, expect, it, vi } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  Scene,
  clockShows,
  names,
} from '../../support/punctual/scene.js';

const HOUR = 3_600_000;

// One after the other: the clock is the process's.
describe('a step of the local clock', () => {
  afterEach(() => vi.restoreAllMocks());

  /** Sets the local clock forward, or back. */
  function step(ms: number): void {
    const { now } = Date;
    vi.spyOn(Date, 'now').mockImplementation(() => now.call(Date) + ms);
  }

  it.for([
    ['an hour forward', HOUR],
    ['an hour back', -HOUR],
  ] as const)('by %s changes nothing', async ([, ms], context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const origin = Date.now() - performance.now();
    const start = Date.now() + paced(1_500);
    const old = await scene.giveAt(names(200), (i) => start + i * 5);
    await app.tracks(200);
    await app.hears(20);
    step(ms);
    const fresh = await scene.give(
      names(100, 'new'),
      (i) => paced(1_500) + i * 4,
    );
    // Well within the time for which a deadline is remembered after the key was found gone.
    await app.hears(300);
    const end = performance.now() + origin;

    const deadlines = new Map([...old, ...fresh]);
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(end - Math.max(...deadlines.values())).toBeLessThan(paced(2_000));
    const late = app.events.map(({ lateness }) => lateness!);
    expect(Math.max(...late)).toBeLessThan(paced(2_000));
    expect(app.app.state).toBe('listening');
    expect(app.app.node.gaps).toBe(0);
    expect(app.tracked).toBe(0);
  });

  it('back and forth, again and again, changes nothing', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const start = Date.now() + paced(1_500);
    const deadlines = await scene.giveAt(names(300), (i) => start + i * 8);
    for (let i = 1; i <= 10; i++) {
      await app.hears(i * 25);
      vi.restoreAllMocks();
      if (i % 3 > 0) step(i % 3 === 1 ? HOUR : -HOUR);
    }
    vi.restoreAllMocks();
    await app.hears(300);
    await app.fence();

    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.toldLate.max).toBeLessThan(paced(2_000));
  });
});

describe('a process that is held up', () => {
  it('handles what fell due meanwhile as soon as it can, and knows how late that is', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const start = Date.now() + paced(1_500);
    const deadlines = await scene.giveAt(names(200), (i) => start + i * 4);
    await app.tracks(200);
    await clockShows(start - 100);
    const heldUp = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(heldUp, 0, 0, 1_500);
    expect(app.events).toEqual([]);
    await app.hears(200);
    await app.fence();

    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.toldLate.max).toBeGreaterThan(500);
    const late = app.events.filter(
      ({ key, lateness, heardAt }) =>
        Math.abs(heardAt - deadlines.get(key)! - lateness!) > 500,
    );
    expect(late).toEqual([]);
    expect(app.app.node.gaps).toBe(0);
  });
});
