import { describe, expect, it } from 'vitest';
import { toPayload } from '../../../lib/group/stored-event.js';
import { RunCounts } from '../../../lib/group/run-counts.js';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const DEAD = 'rx:{presence}:dead';
const WARNING = 'dead letter(s) were deleted';

const fail = (): never => {
  throw new Error('on purpose');
};

describe('dead letters', () => {
  const server = useServer();

  const failing = (deadLetters: RedisExpiryModuleOptions['deadLetters']) =>
    groupApp(server, [handler('k*', fail)], {
      retry: { attempts: 1 },
      deadLetters: deadLetters!,
    });

  /** Letters that were written so many ms ago, the oldest first. */
  async function letters(...ages: number[]): Promise<void> {
    const now = Date.now();
    const pipeline = server.redis.pipeline();
    ages.forEach((age, i) => {
      const payload = toPayload({
        ...{ redisKey: Buffer.from(`old${i}`), deadline: 1, detected: 2 },
        ...{ source: 'notification', handler: undefined, tries: 1 },
        passes: 0,
        runs: RunCounts.none,
      });
      pipeline.xadd(DEAD, `${now - age}-${i}`, 'p', payload, 'e', 'why');
    });
    await pipeline.exec();
  }

  it('are kept up to a number, the newest, at any moment', async () => {
    const { subscriber, logs } = await failing({ maxCount: 5 });
    for (const part of [names('k-a-', 10), names('k-b-', 10)]) {
      await server.expire(...part);
      await eventually(() =>
        expect(subscriber.status().counters.deadLettered % 10).toBe(0),
      );
      await groupIsDone(server);
      expect(await server.redis.xlen(DEAD)).toBe(5);
    }
    await eventually(() =>
      expect(subscriber.status().counters.deadLettered).toBe(20),
    );
    const kept = (await subscriber.deadLetters()).map(({ key }) => key);
    expect(kept.every((key) => key.startsWith('k-b-'))).toBe(true);
    expect(kept).toHaveLength(5);
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { dead: 5, deadLettersDropped: 15 },
      ]),
    );
    // The first one at once, and not one for each.
    expect(logs.texts('warn', WARNING)).toHaveLength(1);
  });

  it('go when they are too old, and no other does', async () => {
    const hour = 3_600_000;
    await letters(4 * hour, 3 * hour, hour, 60_000);
    const { subscriber, logs } = await failing({ maxAge: 2 * hour });
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { dead: 2, deadLettersDropped: 2 },
      ]),
    );

    const kept = (await subscriber.deadLetters()).map(({ key }) => key);
    expect(kept).toEqual(['old2', 'old3']);
    expect(logs.texts('warn', WARNING)).toEqual([
      expect.stringContaining('2 dead letter(s)'),
    ]);
    expect(logs.texts('warn', WARNING)[0]).toContain('deadLetters.maxAge');
  });

  it('go in great numbers too, where the limit was lowered', async () => {
    await letters(...Array.from({ length: 3_500 }, () => 1_000));
    const { subscriber } = await failing({ maxCount: 3 });
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { dead: 3, deadLettersDropped: 3_497 },
      ]),
    );
    expect((await subscriber.deadLetters()).map(({ key }) => key)).toEqual([
      ...['old3497', 'old3498', 'old3499'],
    ]);
  });

  it('are kept for weeks by default', async () => {
    const day = 24 * 3_600_000;
    await letters(31 * day, 29 * day, 1_000);
    const { subscriber } = await failing(undefined);
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { dead: 2, deadLettersDropped: 1 },
      ]),
    );
  });

  it('keep the beginning of an error that is very long', async () => {
    const error = `it is ${'x'.repeat(100_000)}`;
    const { subscriber } = await groupApp(
      server,
      [
        handler('k', () => {
          throw new Error(error);
        }),
      ],
      { retry: { attempts: 1 } },
    );
    await server.expire('k');
    const [letter] = await eventually(async () => {
      const all = await subscriber.deadLetters();
      expect(all).toHaveLength(1);
      return all;
    });
    expect(letter!.error).toMatch(/^it is x+… \(100006 characters\)$/);
    expect(letter!.error.length).toBeLessThan(2_100);
  });

  describe('are asked for', () => {
    it.for<[page: unknown, code: string, shown: string]>([
      ...[0, -1, 1.5, Number.NaN, Infinity, '10', null].map(
        (count): [unknown, string, string] => [
          { count },
          'INVALID_OPTION_COUNT',
          'a whole number from 1 on',
        ],
      ),
      ...['', '1-1', 'presence/', 'presence/-', 'presence/x', 'presence/1-1-1']
        .concat(['presence/1-99999999999999999999', 'other/1-1'])
        .map((after): [unknown, string, string] => [
          { after },
          'INVALID_OPTION_AFTER',
          'a letter of group "presence"',
        ]),
      [{ after: 5 }, 'INVALID_OPTION_AFTER', 'accepted'],
      [{ limit: 5 }, 'INVALID_OPTION_LIMIT', 'count, after'],
      [null, 'INVALID_OPTION_PAGE', 'an object'],
    ])('page by page, not by %j', async ([page, code, shown]) => {
      const { subscriber } = await failing({});
      await expect(
        subscriber.deadLetters('presence', page as { count: number }),
      ).rejects.toMatchObject({
        ...{ name: 'RedisExpiryError', code },
        message: expect.stringContaining(shown) as string,
      });
    });

    it('by an id that is one', async () => {
      const { subscriber } = await failing({});
      await letters(1_000);
      const bad = ['presence/-', 'presence/+', 'presence/(1-1', 'presence/1'];
      for (const id of [...bad, 'presence/x', undefined, 5, {}])
        for (const ask of ['redrive', 'discard'] as const)
          await expect(subscriber[ask](id as string)).rejects.toMatchObject({
            ...{ name: 'RedisExpiryError', code: 'INVALID_OPTION_ID' },
            message: expect.stringContaining(
              'accepted: the id of a dead letter',
            ) as string,
          });
      expect(await server.redis.xlen(DEAD)).toBe(1);
    });
  });
});
