import { eventually } from '../../support/eventually.js';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  afterEach,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
  vi,
} from 'vitest';
import {
  RecentlyGone,
  announcementsWithin,
} from '../../../lib/deadlines/recently-gone.js';

const key = (name: string): Buffer => Buffer.from(name, 'latin1');

describe('RecentlyGone', () => {
  let gone: RecentlyGone;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 10, 23) });
    gone = new RecentlyGone();
  });
  afterEach(() => vi.useRealTimers());

  /** Adding ages it: so much time goes by, and then something else is added. */
  function pass(ms: number): void {
    vi.advanceTimersByTime(ms);
    gone.add(key(`other${Date.now()}`), 0);
  }

  it('tells the deadline of a key once', () => {
    gone.add(key('a'), 5);
    gone.add(key('b'), 6);

    expect(gone.take(key('a'))).toBe(5);
    expect(gone.take(key('a'))).toBeUndefined();
    expect(gone.take(key('c'))).toBeUndefined();
    expect(gone.take(key('b'))).toBe(6);
  });

  it('tells keys apart by their bytes', () => {
    gone.add(key('\xff'), 1);
    gone.add(key('\xfe'), 2);
    gone.add(key('\0'), 3);
    gone.add(key(''), 4);

    expect(['\xff', '\xfe', '\0', ''].map((k) => gone.take(key(k)))).toEqual([
      1, 2, 3, 4,
    ]);
  });

  it('tells the newest deadline of a key', () => {
    gone.add(key('a'), 5);
    gone.add(key('a'), 7);
    expect(gone.take(key('a'))).toBe(7);

    gone.add(key('b'), 5);
    pass(6_000);
    gone.add(key('b'), 7);
    expect(gone.take(key('b'))).toBe(7);
  });

  it('remembers for 5 seconds at least', () => {
    pass(0);
    gone.add(key('a'), 5);
    for (let ms = 0; ms < 4_900; ms += 100) pass(100);

    expect(gone.take(key('a'))).toBe(5);
  });

  it('forgets within 10 seconds while others come', () => {
    pass(0);
    gone.add(key('a'), 5);
    for (let ms = 0; ms < 10_100; ms += 100) pass(100);

    expect(gone.take(key('a'))).toBeUndefined();
  });

  it('says nothing of a life before the one that it told of', () => {
    gone.add(key('a'), 5);
    pass(6_000);
    gone.add(key('a'), 6_005);
    gone.take(key('a'));

    expect(gone.take(key('a'))).toBeUndefined();
  });

  it('survives a step of the local clock', () => {
    pass(0);
    gone.add(key('a'), 5);
    vi.setSystemTime(Date.now() - 3_600_000);
    pass(0);
    for (let ms = 0; ms < 4_900; ms += 100) pass(100);
    expect(gone.take(key('a'))).toBe(5);

    for (let ms = 0; ms < 20_000; ms += 100) pass(100);
    gone.add(key('b'), 6);
    vi.setSystemTime(Date.now() + 3_600_000);
    pass(0);
    expect(gone.take(key('b'))).toBe(6);
  });

  it('remembers what a socket tells that is read after the process was held up, and then forgets', async () => {
    // In a process of its own, which answers while this one is held up.
    const echo = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    onTestFinished(() => void echo.kill());
    echo.stdin.write('ready');
    await once(echo.stdout, 'data');
    const told = new Promise<number | undefined>((resolve) => {
      echo.stdout.once('data', () => resolve(gone.take(key('a'))));
    });

    const announcements = announcementsWithin(20);
    gone.add(key('a'), 5, announcements);
    gone.add(key('b'), 6, announcements);
    echo.stdin.write('expired');
    // What it answers is there by then, and so is the end of the 20 ms.
    hold(500);

    expect(await told).toBe(5);
    await eventually(() => expect(announcements.over).toBe(true));
    expect(gone.take(key('b'))).toBeUndefined();
  });
});

/** Holds this process up, timers and sockets included. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
