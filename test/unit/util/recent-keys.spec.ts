import { beforeEach, describe, expect, it } from 'vitest';
import { RecentKeys } from '../../../lib/util/recent-keys.js';

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

describe('RecentKeys', () => {
  let now: number;
  let recent: RecentKeys<number>;

  beforeEach(() => {
    now = 0;
    recent = new RecentKeys(5_000, () => now);
  });

  /** Setting a key ages the others: so much time goes by, in which others come. */
  function pass(ms: number): void {
    for (let end = now + ms; now < end;) {
      now += 100;
      recent.set(`other${now}`, 0);
    }
  }

  it('tells the newest value of a key, and forgets one that is taken', () => {
    recent.set(bytes('a'), 5);
    recent.set(bytes('a'), 7);
    expect(recent.get(bytes('a'))).toBe(7);
    expect(recent.take(bytes('a'))).toBe(7);
    expect(recent.take(bytes('a'))).toBeUndefined();
    expect(recent.size).toBe(0);

    recent.set(bytes('b'), 5);
    pass(6_000);
    recent.set(bytes('b'), 7);
    expect(recent.take(bytes('b'))).toBe(7);
    // And says nothing of a life before the one that it told of.
    expect(recent.take(bytes('b'))).toBeUndefined();
  });

  it('tells keys apart by their bytes, and takes their latin1 text, too', () => {
    const names = ['\xff', '\xfe', '\0', ''];
    names.forEach((name, i) => recent.set(i % 2 ? name : bytes(name), i));

    expect(names.map((name) => recent.get(bytes(name)))).toEqual([0, 1, 2, 3]);
    expect(names.map((name) => recent.get(name))).toEqual([0, 1, 2, 3]);
    recent.delete('\xff');
    recent.delete(bytes('\0'));
    expect(names.map((name) => recent.get(name))).toEqual([
      undefined,
      1,
      undefined,
      3,
    ]);
  });

  it.for([0, 100, 2_500, 4_900])(
    'remembers for its time at least, and twice that at most, a key that came after %i ms',
    (after) => {
      pass(after);
      recent.set('a', 5);
      pass(4_900);
      expect(recent.get('a')).toBe(5);
      pass(5_200);
      expect(recent.get('a')).toBeUndefined();
      // 50 others for each generation.
      expect(recent.size).toBeLessThanOrEqual(101);
    },
  );

  it('forgets nothing while it is held, and goes on as before then', () => {
    pass(4_000);
    recent.set('a', 5);
    recent.hold(60_000);
    pass(59_900);
    expect(recent.get('a')).toBe(5);
    pass(10_200);

    expect(recent.get('a')).toBeUndefined();
  });

  it('forgets what is older than its time when it is told to, though it was held', () => {
    recent.set('a', 5);
    recent.hold(60_000);
    pass(4_900);
    recent.age();
    expect(recent.get('a')).toBe(5);
    pass(200);
    recent.set('b', 6);
    recent.age();
    expect(recent.get('a')).toBe(5);
    pass(5_000);
    recent.age();

    expect(recent.get('a')).toBeUndefined();
    expect(recent.get('b')).toBeUndefined();
  });
});
