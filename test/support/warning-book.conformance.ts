import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import type { DeadlineEntry } from '../../lib/deadlines/deadline-index.js';
import type { WarningBook } from '../../lib/deadlines/warning-book.js';
import { now } from './expiring.js';

/** A book, of which somebody asks for keys that begin with `k`, and what it warned of: `key deadline source`. */
export interface OpenedBook {
  readonly book: WarningBook;
  readonly redis: Redis;
  /** What was warned of since it was asked last. */
  readonly warned: () => Promise<string[]>;
}

/** A minute: no key of these tests runs out. */
const BEFORE = 60_000;

/** What every book of warnings must do. Its keys are on a real server. */
export function warningBookConformance(
  name: string,
  open: (before: number) => Promise<OpenedBook>,
): void {
  describe(`${name} as a book of warnings`, () => {
    /** A book, and keys that have so many ms more than `before` left. */
    async function scene() {
      const opened = await open(BEFORE);
      const { redis, book } = opened;
      const began = await now(redis);
      const write = async (key: string, more: number): Promise<number> => {
        const deadline = began + BEFORE + more;
        await redis.set(key, '1', 'PXAT', deadline);
        return deadline;
      };
      const learn = (
        key: string,
        deadline: number,
        learnt?: DeadlineEntry['learnt'],
      ) =>
        book.learn([
          { key: Buffer.from(key), at: deadline, ...(learnt && { learnt }) },
        ]);
      /** Looks at everything that is ahead, as if it were due. */
      const look = async (since = 0) => {
        const { due } = await book.peek(Number.MAX_SAFE_INTEGER, 100);
        return due.length === 0 ? undefined : book.look(due, since);
      };
      const ahead = async () => {
        const { due } = await book.peek(Number.MAX_SAFE_INTEGER, 100);
        return due.map(({ key, at }) => `${key.toString()} ${at - began}`);
      };
      return { ...opened, began, write, learn, look, ahead };
    }

    it('knows when to look at a key that has more left, and nothing of one that has not', async () => {
      const { write, learn, ahead, began } = await scene();

      const more = await learn('k1', await write('k1', 5_000));
      const less = await learn('k2', await write('k2', -1_000));

      expect(more).toBe(began + 5_000);
      expect(less).toBeUndefined();
      expect(await ahead()).toEqual(['k1 5000']);
    });

    it('warns of a key whose time left has fallen to before, once for each deadline', async () => {
      const { write, learn, look, ahead, warned } = await scene();
      await learn('k', (await write('k', 0)) + 5_000);
      const deadline = await write('k', -10);

      expect(await look()).toMatchObject({ isWithin: true });
      expect(await warned()).toEqual([`k ${deadline} notification`]);
      expect(await ahead()).toEqual([]);

      // Told once more, and looked at as if it had been renewed.
      await learn('k', deadline + 90_000);
      await look();
      expect(await warned()).toEqual([]);
    });

    it('says of what should have been warned of before a moment that it is recovered', async () => {
      const { write, learn, look, warned, began } = await scene();
      await learn('k', (await write('k', 0)) + 5_000);
      const deadline = await write('k', -200);

      await look(began);

      expect(await warned()).toEqual([`k ${deadline} recovery`]);
    });

    it('looks again at a key that was renewed', async () => {
      const { write, learn, look, ahead, warned, began } = await scene();
      await learn('k', await write('k', 3_000));
      await write('k', 8_000);

      expect(await look()).toEqual({ soonest: began + 8_000, isWithin: false });
      expect(await ahead()).toEqual(['k 8000']);
      expect(await warned()).toEqual([]);
    });

    it('forgets a key that is gone, that has no deadline any more, or that nobody asks for', async () => {
      const { write, learn, look, ahead, warned, redis } = await scene();
      for (const key of ['k1', 'k2', 'x'])
        await learn(key, (await write(key, -10)) + 5_000);
      await redis.del('k1');
      await redis.persist('k2');

      await look();

      expect(await warned()).toEqual([]);
      expect(await ahead()).toEqual([]);
    });

    it('brings a look forward where the time left is shortened', async () => {
      const { write, learn, ahead } = await scene();
      await learn('k', await write('k', 5_000));
      await learn('k', await write('k', 2_000), 'renewed');
      expect(await ahead()).toEqual(['k 2000']);

      await learn('k', await write('k', -30_000), 'renewed');
      expect(await ahead()).toEqual(['k -30000']);
    });

    it('forgets a key that was created anew and has no more than before left', async () => {
      const { write, learn, ahead } = await scene();
      await learn('k', await write('k', 5_000));

      await learn('k', await write('k', -30_000), 'created');

      expect(await ahead()).toEqual([]);
    });

    /** A scene in which `k` was warned of, with so many ms less than `before` left. */
    async function warnedScene(less = 500) {
      const s = await scene();
      await s.learn('k', (await s.write('k', 0)) + 5_000);
      const deadline = await s.write('k', -less);
      await s.look();
      await s.warned();
      return { ...s, deadline };
    }

    it('finds a key renewed that was warned of, and warns of it again', async () => {
      const { book, write, look, ahead, warned, began } = await warnedScene();
      const renewed = await write('k', 7_000);

      expect(await book.recheck(began, () => true)).toEqual({
        ...{ soonest: began + 7_000, isWithin: true },
      });
      expect(await ahead()).toEqual(['k 7000']);
      await write('k', -50);
      await look();
      expect(await warned()).not.toEqual([]);
      expect(renewed).toBe(began + BEFORE + 7_000);
    });

    it('warns again of a key that may have had more left since the look before', async () => {
      const { book, write, look, ahead, warned, began } = await warnedScene();
      const renewed = await write('k', -5);

      // At the look before, 300 ms ago, this deadline would have been farther away than before.
      const found = await book.recheck(began - 300, () => true);

      expect(found).toEqual({ soonest: began - 5, isWithin: true });
      expect(await ahead()).toEqual(['k -5']);
      await look();
      expect(await warned()).toEqual([`k ${renewed} notification`]);
    });

    it('does not warn again of a key that had no more left since then', async () => {
      const { book, write, ahead, began, look, warned } = await warnedScene();
      await write('k', 150);
      await new Promise((resolve) => setTimeout(resolve, 200));

      expect(await book.recheck(began + 180, () => true)).toEqual({
        ...{ soonest: undefined, isWithin: true },
      });
      expect(await ahead()).toEqual([]);
      await look();
      expect(await warned()).toEqual([]);
    });

    it('takes a renewal that it was told of, and that left no more than before, for what it is', async () => {
      const { book, write, learn, ahead, began } = await warnedScene();
      await learn('k', await write('k', -5), 'renewed');

      // Else it would have to be taken for one that may have had more left.
      expect(await book.recheck(began - 10_000, () => true)).toEqual({
        ...{ soonest: undefined, isWithin: true },
      });
      expect(await ahead()).toEqual([]);
    });

    it('has it ahead as soon as it is told of a renewal to more than before', async () => {
      const { book, write, learn, ahead, began } = await warnedScene();

      await learn('k', await write('k', 9_000), 'renewed');

      expect(await ahead()).toEqual(['k 9000']);
      expect(await book.recheck(began, () => true)).toMatchObject({
        isWithin: true,
      });
    });

    it('takes a deadline that is some ms later for the same one, as a move to another node makes it so', async () => {
      const { book, write, learn, ahead, began } = await warnedScene(10);
      await learn('k', await write('k', 100));
      await write('k', 50);

      expect(await ahead()).toEqual([]);
      expect(await book.recheck(began - 10_000, () => true)).toEqual({
        ...{ soonest: undefined, isWithin: true },
      });
    });

    it('looks at no key any more once listening was lost', async () => {
      const { book, write, learn, look, redis, warned } = await scene();
      const keys = Array.from({ length: 1_500 }, (_, i) => `k${i}`);
      for (const key of keys) await learn(key, (await write(key, 0)) + 5_000);
      for (let i = 0; i < 15; i++) await look();
      expect(await warned()).toHaveLength(1_500);
      await redis.config('RESETSTAT');
      let steps = 0;

      await book.recheck(-Infinity, () => ++steps < 2);

      const stats = await redis.info('commandstats');
      const calls = /cmdstat_(?:pexpiretime|pttl):calls=(\d+)/.exec(stats)?.[1];
      expect(Number(calls)).toBeLessThan(1_500);
      expect(Number(calls)).toBeGreaterThan(0);
    });

    it('forgets a key that was warned of and is gone', async () => {
      const { book, redis, began } = await warnedScene();
      await redis.del('k');

      expect(await book.recheck(began, () => true)).toEqual({
        ...{ soonest: undefined, isWithin: false },
      });
    });
  });
}
