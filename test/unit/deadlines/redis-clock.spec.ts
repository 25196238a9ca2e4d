import { beforeEach, describe, expect, it } from 'vitest';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { Random } from '../../support/random.js';

/** Redis's time when this process's clock stands at 0. */
const START = Date.UTC(2026, 10, 23) + 0.25;

describe('RedisClock', () => {
  /** This process's monotonic clock, in ms. */
  let local: number;
  /** By how much Redis's clock is ahead of it. */
  let offset: number;
  let clock: RedisClock;

  beforeEach(() => {
    local = 1_000;
    offset = START;
    clock = new RedisClock(() => local);
  });

  const redisTime = (): number => local + offset;
  const error = (): number => Math.abs(clock.now() - redisTime());

  /** A question that takes some ms each way. */
  function ask(there: number, back: number): void {
    const sent = clock.mark();
    local += there;
    const now = Math.floor(redisTime());
    local += back;
    clock.read(now, sent);
  }

  it('knows nothing before the first reading', () => {
    expect(clock.known).toBe(false);
    expect(clock.now()).toBeNaN();
  });

  it('is wrong by half of the time that the answer took, at most', () => {
    for (const [there, back] of [
      [0, 0],
      [0.1, 0.1],
      [20, 0],
      [0, 20],
      [400, 100],
    ] as const) {
      clock = new RedisClock(() => local);
      ask(there, back);

      expect(clock.known).toBe(true);
      expect(error()).toBeLessThanOrEqual((there + back + 1) / 2 + 1e-3);
    }
  });

  it('goes on between readings with the monotonic clock', () => {
    ask(0, 0);
    const before = clock.now();
    local += 12_345.5;

    expect(clock.now() - before).toBeCloseTo(12_345.5);
  });

  it('becomes better with every reading, and a slow one does not spoil it', () => {
    ask(500, 0);
    expect(error()).toBeGreaterThan(100);
    ask(0.2, 0.2);
    expect(error()).toBeLessThan(1);

    ask(300, 0);
    expect(error()).toBeLessThan(1);
    ask(0, 300);
    expect(error()).toBeLessThan(1);
  });

  it('finds the millisecond of Redis by many readings', () => {
    const random = new Random(5);
    for (let i = 0; i < 200; i++) {
      local += random.below(1_000) / 97;
      ask(random.below(10) / 20, random.below(10) / 20);
    }

    expect(error()).toBeLessThan(0.3);
  });

  it.for([1, 2, 3])(
    'is never wrong by more than its best reading allows (seed %i)',
    (seed) => {
      const random = new Random(seed);
      let best = Infinity;
      for (let i = 0; i < 3_000; i++) {
        const before = local;
        local += random.below(5_000) / 7;
        const there = random.below(1_000) ** 2 / 10_000;
        const back = random.below(1_000) ** 2 / 10_000;
        ask(there, back);
        // What the clocks may have drifted apart since the best reading, in all.
        best += (local - before) / 2_000;
        best = Math.min(best, (there + back + 1) / 2);
        expect(error()).toBeLessThan(best + 0.1);
      }
    },
  );

  it('follows two clocks that drift apart slowly', () => {
    ask(0.1, 0.1);
    for (let i = 0; i < 1_000; i++) {
      local += 15_000;
      // 20 ppm, 0.3 ms in this time.
      offset += 0.3;
      ask(0.2, 0.4);
      expect(error()).toBeLessThan(2);
    }
    expect(offset - START).toBeGreaterThan(299);
  });

  it.for([3_600_000, -3_600_000, 50, -50])(
    "takes up a step of Redis's clock by %i ms with the next reading",
    (step) => {
      for (let i = 0; i < 10; i++) ask(0.2, 0.2);
      offset += step;
      expect(error()).toBeGreaterThan(40);

      ask(0.2, 0.2);

      expect(error()).toBeLessThan(1);
    },
  );

  it('says by how much it was wrong, once for each step', () => {
    const steps: number[] = [];
    clock.onStep = (ms) => steps.push(Math.round(ms / 10) * 10);
    for (const step of [0, 40_000, 0, -571_000]) {
      offset += step;
      for (let i = 0; i < 10; i++) ask(0.2, 0.2);
    }

    expect(steps).toEqual([40_000, -571_000]);
  });

  it.for([500 / 1e6, -500 / 1e6, 0.1, -0.1])(
    'follows a clock that is slewed by %f ms per ms, by slow answers too',
    (rate) => {
      let largest = 0;
      for (let i = 0; i < 2_000; i++) {
        local += 1_000;
        offset += 1_000 * rate;
        ask(5, 25);
        largest = Math.max(largest, error());
      }

      // Half of what an answer took, and what the clock is slewed by meanwhile.
      expect(largest).toBeLessThan(40);
    },
  );

  it('cannot tell a small step from a slow answer, but is right after a quick one', () => {
    for (let i = 0; i < 10; i++) ask(0.1, 0.1);
    offset += 30;
    ask(0, 200);
    ask(0.1, 0.1);

    expect(error()).toBeLessThan(1);
  });

  it("has this process's own time for where Redis may not be asked", () => {
    const own = new RedisClock();
    const difference = own.local(own.mark()) - Date.now();

    expect(Math.abs(difference)).toBeLessThan(1_000);
    expect(Number.isInteger(own.local(own.mark()))).toBe(true);
    expect(clock.local(clock.mark() + 10) - clock.local(clock.mark())).toBe(10);
  });
});
