import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { announcementsWithin } from '../../../lib/deadlines/announcements.js';
import { eventually } from '../../support/eventually.js';

describe('the announcements that a look caused', () => {
  it('are not over before the process, which was held up, has read what its sockets brought', async () => {
    // In a process of its own, which answers while this one is held up.
    const echo = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    onTestFinished(() => void echo.kill());
    echo.stdin.write('ready');
    await once(echo.stdout, 'data');
    const announcements = announcementsWithin(20);
    const told = new Promise<boolean>((resolve) => {
      echo.stdout.once('data', () => resolve(announcements.over));
    });

    echo.stdin.write('expired');
    // What it answers is there by then, and so is the end of the 20 ms.
    hold(500);

    expect(await told).toBe(false);
    await eventually(() => expect(announcements.over).toBe(true));
  });

  it('are over in time, though nothing else wakes the process', async () => {
    const { setImmediate: original } = globalThis;
    const references: boolean[] = [];
    const spy = vi.spyOn(globalThis, 'setImmediate');
    spy.mockImplementation(((callback: () => void) => {
      const immediate = original(callback);
      // Before it runs, and after whoever asked for it had his say.
      queueMicrotask(() => references.push(immediate.hasRef()));
      return immediate;
    }) as typeof setImmediate);
    onTestFinished(() => spy.mockRestore());
    const announcements = announcementsWithin(5);
    await eventually(() => expect(announcements.over).toBe(true));

    // One without a reference runs after the next event, whenever that comes.
    expect(references).toEqual([true]);
  });
});

/** Holds this process up, timers and sockets included. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
