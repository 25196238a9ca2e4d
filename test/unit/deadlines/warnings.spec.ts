import { describe, expect, it, onTestFinished } from 'vitest';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import type { WarningBook } from '../../../lib/deadlines/warning-book.js';
import { Warnings } from '../../../lib/deadlines/warnings.js';
import { eventually } from '../../support/eventually.js';

const key = Buffer.from('k');
const HOUR_MS = 3_600_000;

describe('Warnings', () => {
  /** Warnings for each `before` of a set, and which books were opened and are open. Each holds one key at most. */
  function scene() {
    const befores = new Set<number>();
    const open = new Set<number>();
    const opened: number[] = [];
    const clock = new RedisClock();
    clock.read(Date.now(), clock.mark());
    const nothing = { soonest: undefined, isWithin: false };
    const bookOf = (before: number): WarningBook => {
      let next: number | undefined;
      open.add(before);
      opened.push(before);
      return {
        peek: (now) => {
          const due = next !== undefined && next <= now;
          return Promise.resolve({
            due: due ? [{ key, at: next! }] : [],
            next,
          });
        },
        learn: ([entry]) => {
          next = entry!.at - before;
          return Promise.resolve(next);
        },
        look: () => {
          next = undefined;
          return Promise.resolve(nothing);
        },
        recheck: () => Promise.resolve(nothing),
        close: () => open.delete(before),
      };
    };
    const warnings = new Warnings(
      { warnings: { befores }, warns: () => true },
      bookOf,
      () => ({
        clock,
        readTime: () => Promise.resolve(),
        report: (error) => expect.fail(String(error)),
      }),
    );
    onTestFinished(() => warnings.pause());
    warnings.resume();
    /** A deadline is learnt, of a key that is to be warned of in so many ms. */
    const learn = (before: number, ms: number) =>
      warnings.learn([{ key, at: Date.now() + before + ms }]);
    return { befores, open, opened, learn };
  }

  it('ends what nobody asks for once it knows of no key, and begins anew where somebody asks again', async () => {
    const { befores, open, opened, learn } = scene();
    befores.add(1_000);
    await learn(1_000, 5);
    befores.delete(1_000);
    await eventually(async () => {
      await learn(1_000, 5);
      expect(open.size).toBe(0);
    });

    befores.add(1_000);
    await learn(1_000, 5);

    expect([...open]).toEqual([1_000]);
    expect(opened).toEqual([1_000, 1_000]);
  });

  it('keeps what has a key that is to be looked at, and what somebody asks for', async () => {
    const { befores, open, opened, learn } = scene();
    befores.add(1_000).add(2_000);
    await learn(2_000, HOUR_MS);
    befores.delete(1_000);
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      await learn(2_000, HOUR_MS);
    }

    expect([...open]).toEqual([1_000, 2_000]);
    expect(opened).toEqual([1_000, 2_000]);
  });

  it('keeps nothing of a hundred that came and went', async () => {
    const { befores, open, learn } = scene();
    for (let before = 1; before <= 100; before++) {
      befores.add(before);
      await learn(before, 1);
      befores.delete(before);
    }
    await eventually(async () => {
      await learn(1, 1);
      expect(open.size).toBe(0);
    });
  });
});
