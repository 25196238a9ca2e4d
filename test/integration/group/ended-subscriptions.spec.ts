import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { deferred } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const KEYS = names('k', 5);

describe('a subscription of a group that ends', () => {
  const server = useServer();

  it('leaves what waited for it to nobody who has had it', async () => {
    const own = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('k*', own.add)]);
    const begun = collect<KeyExpiredEvent>();
    const gate = deferred();
    const subscription = await subscriber.subscribe(
      'k*',
      async (event) => {
        begun.add(event);
        await gate.promise;
      },
      { concurrency: 1 },
    );
    await server.expire(...KEYS);
    await Promise.all([own.next(KEYS.length), begun.one()]);

    await subscription.unsubscribe();
    gate.resolve();
    await groupIsDone(server);

    expect(own.all.map(({ key }) => key).toSorted()).toEqual(KEYS.toSorted());
    expect(begun.all).toHaveLength(1);
    expect(await subscriber.deadLetters()).toEqual([]);
    expect(subscriber.status().counters.dropped).toBe(KEYS.length - 1);
  });

  it('leaves its retries to nobody who has had it', async () => {
    const own = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('k*', own.add)]);
    const tried = collect<KeyExpiredEvent>();
    const subscription = await subscriber.subscribe(
      'k*',
      (event) => {
        tried.add(event);
        throw new Error('on purpose');
      },
      { retry: { backoff: 500 } },
    );
    await server.expire(...KEYS);
    await Promise.all([own.next(KEYS.length), tried.next(KEYS.length)]);

    await subscription.unsubscribe();
    await groupIsDone(server);

    expect(own.all.map(({ key }) => key).toSorted()).toEqual(KEYS.toSorted());
    expect(tried.all.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1]);
    expect(await subscriber.deadLetters()).toEqual([]);
  });
});
