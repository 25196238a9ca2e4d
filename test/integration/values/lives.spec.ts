import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Redis } from 'ioredis';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { names } from '../../support/group/history.js';
import { Random } from '../../support/random.js';
import { onEveryServer } from '../../support/servers.js';
import {
  LEAD,
  MODES,
  TTL,
  reads,
  shown,
  valueApp,
} from '../../support/values.js';

/** Ms until a deadline, by the server's clock. */
async function left(redis: Redis, deadline: number): Promise<number> {
  const [seconds, micros] = (await redis.time()).map(Number);
  return deadline - (seconds! * 1_000 + Math.floor(micros! / 1_000));
}

/** Resolves so many ms before a deadline. */
const before = async (
  redis: Redis,
  deadline: number,
  ms: number,
): Promise<void> => {
  const wait = (await left(redis, deadline)) - ms;
  if (wait > 0) await delay(wait);
};

onEveryServer('the value of an event', (server) => {
  describe.each(MODES)('in %s', (_, mode) => {
    it('is the one that was written last before it was read, also where that did not renew the key', async () => {
      const { events } = await valueApp(server, mode);
      const { redis } = server;
      const deadline = Date.now() + 2 * TTL;
      await redis.set('k', 'first', 'PXAT', deadline);
      await redis.set('k', 'second', 'KEEPTTL');
      await before(redis, deadline, LEAD + 200);
      await redis.append('k', ' and last');

      expect(shown(await events.one())).toEqual({
        value: 'second and last',
      });
    });

    it('may be the one before, where that was overwritten after it was read and the key not renewed', async () => {
      const { events } = await valueApp(server, mode);
      const { redis } = server;
      const deadline = Date.now() + TTL;
      await redis.set('k', 'first', 'PXAT', deadline);
      await eventually(async () => expect(await reads(server)).toBe(1));
      await redis.set('k', 'second', 'KEEPTTL');

      expect(shown(await events.one())).toEqual({ value: 'first' });
      expect(await reads(server)).toBe(1);
    });

    it('is that of the last life, though the one before was read already when the key was renewed', async () => {
      const { events } = await valueApp(server, mode);
      const { redis } = server;
      await redis.set('k', 'old', 'PX', TTL);
      await eventually(async () => expect(await reads(server)).toBe(1));
      await redis.set('k', 'new', 'PX', TTL);

      expect(shown(await events.one())).toEqual({ value: 'new' });
      expect(await reads(server)).toBe(2);
      expect(events.rest).toEqual([]);
    });

    it('is never that of a life before, though both end at the same moment, and in another type', async () => {
      const { events } = await valueApp(server, mode);
      const { redis } = server;
      const deadline = Date.now() + TTL;
      await redis.set('k', 'old', 'PXAT', deadline);
      await redis.set('k2', 'old', 'PXAT', deadline);
      await eventually(async () => expect(await reads(server)).toBe(2));
      await redis
        .multi()
        .del('k')
        .hset('k', { type: 'hash' })
        .pexpireat('k', deadline)
        .del('k2')
        .set('k2', 'new', 'PXAT', deadline)
        .exec();
      expect(await left(redis, deadline)).toBeGreaterThan(0);

      const all = await events.next(2);
      const of = (key: string) =>
        shown(all.find((event) => event.key === key)!);
      expect(of('k')).toEqual({});
      expect(['new', undefined]).toContainEqual(of('k2').value);
    });

    it('is never that of a life before, though the last one was shorter', async () => {
      const { events } = await valueApp(server, mode);
      const { redis } = server;
      const keys = names('k', 50);
      const deadline = Date.now() + TTL;
      await Promise.all(
        keys.map((key) => redis.set(key, 'old', 'PXAT', deadline)),
      );
      await eventually(async () => expect(await reads(server)).toBe(50));
      await Promise.all(keys.map((key) => redis.set(key, 'new', 'PX', 20)));
      expect(await left(redis, deadline)).toBeGreaterThan(20);

      const values = (await events.next(50)).map(({ value }) => value);
      expect(values).not.toContain('old');
    });

    it('is not read where it is too long, and that is counted', async () => {
      const { events, subscriber, logs } = await valueApp(server, mode, {
        value: 'hash',
      });
      const texts: [string, unknown][] = [];
      await subscriber.subscribe(
        'k*',
        ({ key, value }) => texts.push([key, value]),
        {
          value: 'text',
        },
      );
      const { redis } = server;
      const long = 'x'.repeat(4_097);
      await redis
        .multi()
        .set('k:4MB', 'x'.repeat(4_194_304), 'PX', TTL)
        .set('k:long', long, 'PX', TTL)
        .set('k:short', long.slice(1), 'PX', TTL)
        .hset('k:field', { a: 'x'.repeat(4_194_304) })
        .pexpire('k:field', TTL)
        .hset(
          'k:fields',
          Object.fromEntries(names('f', 2_000).map((n) => [n, ''])),
        )
        .pexpire('k:fields', TTL)
        .hset('k:fits', { a: long.slice(2) })
        .pexpire('k:fits', TTL)
        .exec();

      const hashes = (await events.next(6)).map(
        ({ key, value }) => [key, value] as const,
      );
      await eventually(() => expect(texts).toHaveLength(6));

      const none = Object.fromEntries(
        ['4MB', 'field', 'fields', 'long'].map((n) => [`k:${n}`, undefined]),
      );
      const [short, fits] = [long.slice(1), { a: long.slice(2) }];
      expect(Object.fromEntries(hashes)).toEqual({
        ...{ ...none, 'k:short': undefined, 'k:fits': fits },
      });
      expect(Object.fromEntries(texts)).toEqual({
        ...{ ...none, 'k:short': short, 'k:fits': undefined },
      });
      expect(subscriber.status().counters.valuesTooLong).toBe(4);
      expect(logs.texts('warn', 'values.maxBytes')).toHaveLength(1);
    });

    it('costs nothing while a key is renewed, and one reading when it dies', async () => {
      const { events } = await valueApp(server, {
        ...mode,
        values: { lead: 50 },
      });
      const { redis } = server;
      const keys = names('k', 40);
      for (let beat = 0; beat < 15; beat++) {
        await Promise.all(
          keys.map((key) => redis.set(key, `${beat}`, 'PX', 1_500)),
        );
        await delay(100);
      }
      expect(await reads(server)).toBe(0);

      const values = (await events.next(40)).map(({ value }) => value);
      expect(new Set(values)).toEqual(new Set(['14']));
      expect(await reads(server)).toBe(40);
    });

    it(
      'is of the life that ended, whatever is done to keys',
      { timeout: 60_000 },
      async () => {
        const { events } = await valueApp(server, {
          ...mode,
          values: { lead: 40 },
        });
        const { redis } = server;
        const random = new Random(1);
        const keys = names('k', 60);
        /** The last write of each life: its name, and when it is to end. */
        const lives = new Map<string, number>();
        let lifes = 0;
        const end = Date.now() + 4_000;
        while (Date.now() < end) {
          const key = random.pick(keys);
          const deadline = Date.now() + 30 + random.below(200);
          const life = `${++lifes}`;
          lives.set(life, deadline);
          const what = random.below(10);
          if (what < 2)
            await redis
              .multi()
              .del(key)
              .set(key, life, 'PXAT', deadline)
              .exec();
          else await redis.set(key, life, 'PXAT', deadline);
          if (what > 5) await delay(1);
        }
        const isOver = (event: KeyExpiredEvent): boolean =>
          event.key === 'k:last';
        await redis.set('k:last', '', 'PX', 600);
        await eventually(() => expect(events.all.some(isOver)).toBe(true));

        const told = events.all.filter(
          (event) => !isOver(event) && event.value !== undefined,
        );
        const wrong = told.filter(
          ({ value, deadline }) =>
            !(Math.abs(lives.get(String(value))! - Number(deadline)) <= 1),
        );
        console.log(
          `${told.length} of ${events.all.length - 1} events have a value`,
        );
        expect(
          wrong
            .slice(0, 5)
            .map(({ key, value, deadline }) => [
              key,
              deadline,
              new Date(lives.get(String(value))!),
            ]),
        ).toEqual([]);
        expect(told.length).toBeGreaterThan(0);
      },
    );
  });
});
