import { beforeEach, describe, expect, it } from 'vitest';
import { DuplicateFilter } from '../../../lib/deadlines/duplicate-filter.js';

/** Ms for which another server may have stood there unnoticed. */
const WITHIN = 3_000;

describe('DuplicateFilter', () => {
  let now: number;
  let told: DuplicateFilter;

  beforeEach(() => {
    now = 50_000;
    told = new DuplicateFilter(WITHIN, () => now);
    told.listening();
    now += 60_000;
  });

  const repeats = (key = 'k', { isKnown = false } = {}): boolean =>
    told.repeats(Buffer.from(key), { isKnown });

  /** Takes as many ms as it takes to connect. */
  function reconnect({ replaced = true, ms = 20 } = {}): void {
    now += 10;
    told.lost();
    now += ms;
    // As after every try that fails.
    told.lost();
    if (replaced) told.replaced();
    told.listening();
    now += 10;
  }

  it('takes what another server tells again for a repeat, once', () => {
    expect(repeats()).toBe(false);
    reconnect();

    expect(repeats()).toBe(true);
    // It is of another life.
    expect(repeats()).toBe(false);
    expect(repeats('other')).toBe(false);
  });

  it('takes nothing for a repeat that the same server tells twice', () => {
    expect(repeats()).toBe(false);
    expect(repeats()).toBe(false);
    reconnect({ replaced: false });

    expect(repeats()).toBe(false);
  });

  it('takes no expiry of a key for a repeat that was known to live, or that was created since', () => {
    for (const key of ['known', 'created']) repeats(key);
    reconnect();
    told.forget(Buffer.from('created'));

    expect(repeats('known', { isKnown: true })).toBe(false);
    expect(repeats('created')).toBe(false);
  });

  it('counts from when listening was lost, however long it took to find the other server', () => {
    now += 5_000;
    repeats('long before');
    now += WITHIN;
    repeats('shortly before');
    reconnect({ ms: 8_000 });

    expect(repeats('shortly before')).toBe(true);
    expect(repeats('long before')).toBe(false);
  });

  it('knows all that was told shortly before listening was lost, though it took long to find the other server', () => {
    const names: string[] = [];
    for (let i = 0; i < 200; i++) {
      names.push(`k${i}`);
      repeats(names.at(-1));
      now += 100;
    }
    reconnect({ ms: 60_000 });

    const latest = names.slice(-WITHIN / 100 + 1);
    expect(latest.filter((name) => repeats(name))).toEqual(latest);
    expect(repeats(names[0])).toBe(false);
  });

  it('knows what was told by the server before, also where that was listened to once more in between', () => {
    repeats('at first');
    reconnect({ replaced: false });
    repeats('then');
    reconnect();

    expect(repeats('at first')).toBe(true);
    expect(repeats('then')).toBe(true);
  });

  it('knows what was told all the while, though others were told in between', () => {
    // Two generations are kept: these are in both.
    for (let i = 0; i < 100; i++) {
      repeats(`k${i}`);
      now += 100;
    }
    now -= 100;
    reconnect();

    const all = Array.from({ length: 100 }, (_, i) => i);
    const again = all.filter((i) => repeats(`k${i}`));
    expect(again).toEqual(all.slice(-30));
  });

  it('takes nothing for a repeat ten seconds after the other server was found', () => {
    for (const key of ['in time', 'late']) repeats(key);
    reconnect();
    now -= 10;
    for (let i = 0; i < 99; i++) {
      now += 100;
      repeats(`another ${i}`);
    }
    expect(repeats('in time')).toBe(true);
    now += 100;

    expect(repeats('late')).toBe(false);
  });

  it('forgets in time, though servers are replaced over and over', () => {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 200_000; i++) {
      repeats(`${i}`.padEnd(1_000));
      now += 10;
      if (i % 500 === 0) reconnect();
    }

    // Kept, these would be 200 MB; of 13 s they are 1.3 MB, and garbage.
    const grown = process.memoryUsage().heapUsed - before;
    expect(grown).toBeLessThan(100e6);
  });
});
