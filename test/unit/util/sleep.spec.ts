import { getEventListeners } from 'node:events';
import { getActiveResourcesInfo } from 'node:process';
import { describe, expect, it } from 'vitest';
import { Pause } from '../../../lib/util/pause.js';
import { sleep } from '../../../lib/util/sleep.js';
import { bytesLeft } from '../../support/heap.js';

const HOUR_MS = 3_600_000;
const timers = () =>
  getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

describe('sleep', () => {
  it('resolves after its time, and no sooner', async () => {
    const began = performance.now();
    await sleep(20);
    // Node's timers count whole ms.
    expect(performance.now() - began).toBeGreaterThan(18);
  });

  it('ends without an error when it is aborted, before it began or while it lasts', async () => {
    const abort = new AbortController();
    const before = timers();
    const sleeping = sleep(HOUR_MS, { signal: abort.signal });
    expect(timers()).toBe(before + 1);
    abort.abort();
    await sleeping;
    await sleep(HOUR_MS, { signal: abort.signal });

    expect(timers()).toBe(before);
  });

  it('keeps the process alive unless told otherwise', async () => {
    const abort = new AbortController();
    const before = timers();
    const sleeping = sleep(HOUR_MS, { ref: false, signal: abort.signal });
    expect(timers()).toBe(before);
    abort.abort();
    await sleeping;
  });

  it('leaves nothing behind in a signal that outlives it', async () => {
    const { signal } = new AbortController();
    const left = await bytesLeft(300, async (times) => {
      for (let i = 0; i < times; i++) await sleep(1, { signal });
    });

    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(left).toBeLessThan(250);
  });
});

describe('Pause', () => {
  it('ends when told to, or when another one begins, over and over', async () => {
    const pause = new Pause();
    pause.end();
    const before = timers();
    const first = pause.wait(HOUR_MS);
    const second = pause.wait(HOUR_MS);
    await first;
    expect(timers()).toBe(before + 1);
    pause.end();
    await second;
    await pause.wait(1);
    pause.end();
    const third = pause.wait(HOUR_MS, { ref: false });
    expect(timers()).toBe(before);
    pause.end();
    await third;
  });
});
