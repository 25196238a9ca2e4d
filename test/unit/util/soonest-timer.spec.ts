import { getActiveResourcesInfo } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SoonestTimer } from '../../../lib/util/soonest-timer.js';
import { collect } from '../../support/collect.js';
import { deferred, turns } from '../../support/eventually.js';

const HOUR_MS = 3_600_000;

/** A timer whose runs are collected, and how many timers Node has beside those of before. */
function timer(work: () => Promise<void> = () => Promise.resolve()) {
  const runs = collect<number>();
  const began = performance.now();
  const soonest = new SoonestTimer(() => {
    runs.add(performance.now() - began);
    return work();
  });
  return { runs, soonest };
}

describe('SoonestTimer', () => {
  it('does the work once, however often it was asked for', async () => {
    const { runs, soonest } = timer();
    for (let i = 0; i < 1_000; i++) soonest.within(5);
    await runs.one();
    await delay(30);

    expect(runs.all).toHaveLength(1);
  });

  it('does the work when it was asked for the soonest', async () => {
    const { runs, soonest } = timer();
    soonest.within(HOUR_MS);
    soonest.within(20);
    soonest.within(2 * HOUR_MS);

    expect(await runs.one()).toBeGreaterThanOrEqual(20);
    await delay(30);
    expect(runs.all).toHaveLength(1);
  });

  it('is never early', async () => {
    const { runs, soonest } = timer();
    for (const ms of [0.4, 1.6, 3.2]) {
      const asked = performance.now();
      soonest.within(ms);
      await runs.one();
      expect(performance.now() - asked).toBeGreaterThanOrEqual(ms);
    }
  });

  it('does again what was asked for while the work ran, and never two at once', async () => {
    const gate = deferred();
    let running = 0;
    const { runs, soonest } = timer(async () => {
      expect(++running).toBe(1);
      await gate.promise;
      running--;
    });
    soonest.within(0);
    await runs.one();
    for (let i = 0; i < 100; i++) soonest.within(0);
    await delay(20);
    expect(runs.all).toHaveLength(1);

    gate.resolve();
    await runs.one();
    await delay(20);
    expect(runs.all).toHaveLength(2);
  });

  it('does what is due at once after this turn of the event loop', async () => {
    const { runs, soonest } = timer();
    soonest.within(0);
    soonest.within(-5);
    expect(runs.all).toEqual([]);
    await turns(1);

    expect(runs.all).toHaveLength(1);
  });

  it('forgets what is due when cancelled, and may be asked again', async () => {
    const { runs, soonest } = timer();
    for (const ms of [0, 3]) {
      soonest.within(ms);
      soonest.cancel();
      await delay(20);
      expect(runs.all).toEqual([]);
    }
    soonest.within(5);
    await runs.one();
  });

  it('does nothing after it was stopped', async () => {
    const { runs, soonest } = timer();
    soonest.within(0);
    soonest.stop();
    soonest.within(0);
    await delay(20);

    expect(runs.all).toEqual([]);
  });

  it('does not begin again if it is stopped while the work runs', async () => {
    const gate = deferred();
    const { runs, soonest } = timer(() => gate.promise);
    soonest.within(0);
    await runs.one();
    soonest.within(0);
    soonest.stop();
    gate.resolve();
    await delay(20);

    expect(runs.all).toHaveLength(1);
  });

  it('keeps waiting for longer than Node’s timers can', async () => {
    const { runs, soonest } = timer();
    soonest.within(2 ** 33);
    await delay(20);
    expect(runs.all).toEqual([]);
    soonest.stop();
  });

  it('does not keep the process alive', () => {
    const before = getActiveResourcesInfo().length;
    const { soonest } = timer();
    soonest.within(HOUR_MS);
    // Timers that are not referenced are not listed.
    expect(getActiveResourcesInfo()).toHaveLength(before);
    soonest.stop();
  });
});
