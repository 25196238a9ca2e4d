import { describe, expect, it } from 'vitest';
import type { DeadLetter, KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

/** A handler that keeps when it was called, and fails as often as is said. */
function failing(times: number, error: unknown = new Error('on purpose')) {
  const calls = collect<KeyExpiredEvent & { at: number }>();
  const work = (event: KeyExpiredEvent): void => {
    calls.add({ ...event, at: performance.now() });
    if (event.attempt <= times) throw error;
  };
  return { calls, work };
}

const gapsOf = (calls: readonly { at: number }[]): number[] =>
  calls.slice(1).map(({ at }, i) => at - calls[i]!.at);

describe('an event whose handler fails', () => {
  const server = useServer();

  it('is tried again, under the same id, after as many ms as is said', async () => {
    const { calls, work } = failing(3);
    const { subscriber, logs } = await groupApp(server, [handler('k', work)], {
      retry: { backoff: 150 },
    });
    await server.redis.set('k', '1', 'PX', 100);
    const all = await calls.next(4);
    await groupIsDone(server);

    expect(all.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    expect(new Set(all.map((e) => e.deadline!.getTime())).size).toBe(1);
    expect(new Set(all.map(({ lateness }) => lateness)).size).toBe(1);
    for (const gap of gapsOf(all)) {
      expect(gap).toBeGreaterThan(140);
      expect(gap).toBeLessThan(paced(2_000));
    }
    expect(logs.texts('error', 'Handler.onExpired failed on key')).toHaveLength(
      3,
    );
    expect(subscriber.status().counters).toMatchObject({
      ...{ handled: 1, failed: 3, retried: 3, deadLettered: 0 },
    });
  });

  it('is tried again by whichever instance has room', async () => {
    const { calls, work } = failing(2);
    for (let i = 0; i < 2; i++)
      await groupApp(server, [handler('k*', work)], { retry: { backoff: 20 } });
    await server.expire(...names('k', 50));
    await calls.next(150);
    await groupIsDone(server);

    for (const key of names('k', 50))
      expect(
        calls.all
          .filter((call) => call.key === key)
          .map(({ attempt }) => attempt),
      ).toEqual([1, 2, 3]);
  });

  it('waits as a function of the attempt says', async () => {
    const { calls, work } = failing(2);
    const asked: number[] = [];
    const backoff = (attempt: number): number => {
      asked.push(attempt);
      return attempt === 1 ? 200 : 2_500;
    };
    await groupApp(server, [handler('k', work)], { retry: { backoff } });
    await server.expire('k');
    const gaps = gapsOf(await calls.next(3));

    expect(asked).toEqual([1, 2]);
    expect(gaps[0]).toBeGreaterThan(190);
    expect(gaps[0]).toBeLessThan(paced(2_000));
    expect(gaps[1]).toBeGreaterThan(2_490);
  });

  it.for<[string, (attempt: number) => number]>([
    [
      'throws',
      () => {
        throw new Error('in backoff');
      },
    ],
    ['returns no number', () => Number.NaN],
    ['returns a negative one', () => -5],
  ])('waits as by default where the function %s', async ([, backoff]) => {
    const { calls, work } = failing(1);
    await groupApp(server, [handler('k', work)], { retry: { backoff } });
    await server.expire('k');
    const [gap] = gapsOf(await calls.next(2));

    expect(gap).toBeGreaterThan(990);
    expect(gap).toBeLessThan(paced(4_000));
  });

  it('is tried as often as its handler says, and no more', async () => {
    const patient = failing(9);
    const hasty = failing(9);
    const { subscriber } = await groupApp(
      server,
      [
        handler('k', patient.work, {}, 'Patient'),
        handler('k', hasty.work, { retry: { attempts: 1 } }, 'Hasty'),
      ],
      { retry: { attempts: 3, backoff: 10 } },
    );
    await server.expire('k');
    await eventually(async () => {
      expect(await groupState(server)).toMatchObject({ dead: 2, events: 0 });
    });

    expect(patient.calls.all).toHaveLength(3);
    expect(hasty.calls.all).toHaveLength(1);
    const letters = await subscriber.deadLetters();
    expect(
      letters.map(({ handler: name, attempts }) => [name, attempts]),
    ).toEqual([
      ['Hasty.onExpired k', 1],
      ['Patient.onExpired k', 3],
    ]);
    expect(subscriber.status().counters.deadLettered).toBe(2);
  });

  it('is tried again for that handler alone', async () => {
    const bad = failing(2);
    const good = failing(0);
    await groupApp(
      server,
      [handler('k*', bad.work, {}, 'Bad'), handler('*', good.work, {}, 'Good')],
      { retry: { backoff: 10 } },
    );
    await server.expire(...names('k', 20));
    await bad.calls.next(60);
    await groupIsDone(server);

    expect(bad.calls.all).toHaveLength(60);
    expect(good.calls.all).toHaveLength(20);
    expect(good.calls.all.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  it('is not tried again once its key was written anew', async () => {
    const { calls, work } = failing(9);
    const { subscriber } = await groupApp(server, [handler('k', work)], {
      retry: { backoff: 200 },
    });
    await server.expire('k');
    await calls.one();
    await server.redis.set('k', 'alive');
    await eventually(() =>
      expect(subscriber.status().counters.superseded).toBe(1),
    );
    await groupIsDone(server);

    expect(calls.all).toHaveLength(1);
    expect((await groupState(server))['dead']).toBeUndefined();
  });

  it('becomes a dead letter where no instance has a handler for it', async () => {
    const { calls, work } = failing(0);
    const { subscriber } = await groupApp(server, [handler('k', work)], {
      retry: { attempts: 2, backoff: 10 },
    });
    // As another instance of the group wrote it, with handlers of its own.
    await server.redis.xadd(
      ...(['rx:{presence}:events', '*'] as const),
      ...['k', 'unknown', 'd', '1000', 't', '1001', 's', 'notification'],
    );
    await eventually(async () => {
      expect(await subscriber.deadLetters()).toHaveLength(1);
    });

    expect(await subscriber.deadLetters()).toMatchObject([
      {
        key: 'unknown',
        eventId: 'unknown@1000',
        attempts: 0,
        error: expect.stringContaining('handler') as string,
      },
    ]);
    expect(calls.all).toEqual([]);
  });
});

describe('the dead letters of a group', () => {
  const server = useServer();

  it('tell what failed, page by page, and are tried or deleted by request', async () => {
    let broken = true;
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(
      server,
      [
        handler('k*', (event) => {
          events.add(event);
          if (broken) throw new Error(`no ${event.key}`);
        }),
      ],
      { retry: { attempts: 1 } },
    );
    const before = Date.now();
    await server.expire(...names('k', 25));
    await events.next(25);
    await groupIsDone(server);
    await eventually(() =>
      expect(subscriber.status().groups[0]).toMatchObject({ dead: 25 }),
    );

    const pages: DeadLetter[] = [];
    for (let after: string | undefined; ;) {
      const page = await subscriber.deadLetters('presence', {
        count: 10,
        ...(after !== undefined && { after }),
      });
      expect(page.length).toBeLessThanOrEqual(10);
      if (page.length === 0) break;
      pages.push(...page);
      after = page.at(-1)!.id;
    }
    expect(pages.map(({ key }) => key).toSorted()).toEqual(
      names('k', 25).toSorted(),
    );
    expect(new Set(pages.map(({ id }) => id)).size).toBe(25);
    for (const letter of pages) {
      const { key, keyBuffer, group, attempts, error, at, eventId } = letter;
      expect({ group, attempts, error }).toEqual({
        ...{ group: 'presence', attempts: 1, error: `no ${key}` },
      });
      expect(keyBuffer).toEqual(Buffer.from(key));
      expect(at.getTime()).toBeGreaterThanOrEqual(before - 5);
      expect(at.getTime()).toBeLessThanOrEqual(Date.now() + 5);
      expect(events.all.map(({ id }) => id)).toContain(eventId);
    }

    broken = false;
    const [first, second, ...rest] = pages;
    expect(await subscriber.redrive(first!.id)).toBe(true);
    expect(await events.one()).toMatchObject({
      ...{ key: first!.key, id: first!.eventId, attempt: 1 },
    });
    expect(await subscriber.redrive(first!.id)).toBe(false);
    expect(await subscriber.discard(second!.id)).toBe(true);
    expect(await subscriber.discard(second!.id)).toBe(false);
    expect(await subscriber.redrive(second!.id)).toBe(false);
    expect((await subscriber.deadLetters()).map(({ id }) => id)).toEqual(
      rest.map(({ id }) => id),
    );
    await groupIsDone(server);
    expect(events.all).toHaveLength(26);
  });

  it('are put back once, however often that is asked for at once', async () => {
    let broken = true;
    const { calls } = failing(0);
    const { subscriber } = await groupApp(
      server,
      [
        handler('k', (event) => {
          calls.add({ ...event, at: 0 });
          if (broken) throw new Error('on purpose');
        }),
      ],
      { retry: { attempts: 1 } },
    );
    await server.expire('k');
    await eventually(async () => {
      expect(await subscriber.deadLetters()).toHaveLength(1);
    });
    broken = false;
    const [letter] = await subscriber.deadLetters();
    const moved = await Promise.all(
      Array.from({ length: 10 }, () => subscriber.redrive(letter!.id)),
    );
    await groupIsDone(server);

    expect(moved.filter(Boolean)).toHaveLength(1);
    expect(calls.all).toHaveLength(2);
  });

  it('are those of a group of this instance, or refused', async () => {
    const { subscriber } = await groupApp(server, [
      handler('k', () => undefined),
    ]);
    const refused = { code: 'INVALID_OPTION_GROUP' };
    await expect(subscriber.deadLetters('other')).rejects.toMatchObject(
      refused,
    );
    await expect(subscriber.redrive('other/1-1')).rejects.toMatchObject(
      refused,
    );
    await expect(subscriber.discard('nonsense')).rejects.toMatchObject(refused);
    expect(await subscriber.discard('presence/1-1')).toBe(false);
  });
});
