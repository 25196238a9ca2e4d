import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type KeyExpiredEvent, OnKeyExpired } from '../../lib/index.js';
import { type TestOptions, createApp, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { type Deferred, deferred, eventually } from '../support/eventually.js';
import {
  type TestServer,
  connect,
  expire,
  onEveryServer,
} from '../support/servers.js';

/** The keys that handlers began with. */
let began: Collector<string>;
/** What handlers wait for before they end. */
let held: Deferred;

beforeEach(() => {
  began = collect();
  held = deferred();
  onTestFinished(() => held.resolve());
});

class Devices {
  @OnKeyExpired('device:*')
  async onOffline({ key }: KeyExpiredEvent) {
    began.add(key);
    await held.promise;
  }
}

class OneByOne {
  @OnKeyExpired('job:*', { concurrency: 1 })
  async onDue({ key }: KeyExpiredEvent) {
    began.add(key);
    await held.promise;
  }
}

async function listen(server: TestServer, options: TestOptions = {}) {
  const app = await createApp({
    imports: [redisExpiry(server, options)],
    providers: [Devices, OneByOne],
  });
  return { ...app, subscriber: app.subscriber };
}

const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}:${i + 1}`);

onEveryServer('a key that was written again', (server) => {
  const writes: [how: string, write: (key: string) => Promise<unknown>][] = [
    ['SET', (key) => server.redis.set(key, 'new')],
    ['SET with a TTL', (key) => server.redis.set(key, 'new', 'EX', 100)],
    ['HSET', (key) => server.redis.hset(key, 'field', 'new')],
    ['RENAME', (key) => renameTo(server, key)],
    ['an empty stream', (key) => emptyStream(server, key)],
  ];

  it.each(writes)(
    'by %s before its turn is superseded: no handler is called',
    async (_, write) => {
      const { subscriber } = await listen(server, { concurrency: 1 });
      await server.expire('device:first');
      await began.one();
      await server.expire('device:1', 'device:2');
      await eventually(() => expect(subscriber.status().queued).toBe(2));

      await write('device:1');
      held.resolve();

      expect(await began.one()).toBe('device:2');
      await eventually(() =>
        expect(subscriber.status().counters).toMatchObject({
          received: 3,
          handled: 2,
          superseded: 1,
        }),
      );
      expect(began.rest).toEqual([]);
    },
  );

  it('by a late heartbeat, which Redis announces as expired, is superseded', async () => {
    const { subscriber, logs } = await listen(server);

    // In one go, so that Redis has no time to find the key due before it is written again.
    await server.redis
      .pipeline()
      .set('device:1', 'on', 'PX', 1)
      .eval('for i = 1, 3000000 do end', 0)
      .set('device:1', 'on', 'EX', 100)
      .exec();

    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        received: 1,
        superseded: 1,
      }),
    );
    expect(began.all).toEqual([]);
    expect(logs.texts('warn')).toEqual([]);
    expect(logs.texts('error')).toEqual([]);
  });

  it('and expired again before its turn is handled for each time', async () => {
    const { subscriber } = await listen(server, { concurrency: 1 });
    await server.expire('device:first');
    await began.one();

    await server.expire('device:1');
    await server.expire('device:1');
    held.resolve();

    expect(await began.next(2)).toEqual(['device:1', 'device:1']);
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({ handled: 3 }),
    );
  });

  it('and deleted before its turn is handled', async () => {
    await listen(server, { concurrency: 1 });
    await server.expire('device:first');
    await began.one();
    await server.expire('device:1');

    await server.redis.set('device:1', 'new');
    await server.redis.del('device:1');
    held.resolve();

    expect(await began.one()).toBe('device:1');
  });

  it('is looked for in the database that it expired in', async () => {
    const { subscriber } = await listen(server, {
      concurrency: 1,
      connection: `${server.url}/3`,
    });
    const third = await connect(server, { db: 3 });
    await expire(third, 'device:first');
    await began.one();
    await expire(third, 'device:1', 'device:2');
    await eventually(() => expect(subscriber.status().queued).toBe(2));

    await third.set('device:1', 'new');
    await server.redis.set('device:2', 'in another database');
    held.resolve();

    expect(await began.one()).toBe('device:2');
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({ superseded: 1 }),
    );
  });

  it('with a keyPrefix is looked for with it', async () => {
    const { subscriber } = await listen(server, {
      concurrency: 1,
      connection: { port: server.port, keyPrefix: 'app:' },
    });
    await server.expire('app:device:first');
    await began.one();
    await server.expire('app:device:1', 'app:device:2');
    await eventually(() => expect(subscriber.status().queued).toBe(2));

    await server.redis.set('app:device:1', 'new');
    await server.redis.set('device:2', 'of somebody else');
    held.resolve();

    expect(await began.one()).toBe('device:2');
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({ superseded: 1 }),
    );
  });
});

async function renameTo(server: TestServer, key: string): Promise<void> {
  await server.redis.set('other', 'new');
  await server.redis.rename('other', key);
}

async function emptyStream(server: TestServer, key: string): Promise<void> {
  await server.redis.xgroup('CREATE', key, 'group', '0', 'MKSTREAM');
}

onEveryServer('handlers', (server) => {
  it('run at once up to the module’s concurrency', async () => {
    const { subscriber } = await listen(server, { concurrency: 3 });

    await server.expire(...names('device', 8));

    await eventually(() =>
      expect(subscriber.status()).toMatchObject({ queued: 5, running: 3 }),
    );
    await began.next(3);
    expect(began.rest).toEqual([]);
    held.resolve();
    await began.next(5);
    expect(began.all).toEqual(names('device', 8));
    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        queued: 0,
        running: 0,
        counters: { received: 8, handled: 8 },
      }),
    );
  });

  it('of their own concurrency hold up no other', async () => {
    const { subscriber } = await listen(server);

    await server.expire(...names('job', 3), ...names('device', 3));

    expect((await began.next(4)).toSorted()).toEqual([
      ...names('device', 3),
      'job:1',
    ]);
    expect(subscriber.status()).toMatchObject({ queued: 2, running: 4 });
    held.resolve();
    expect(await began.next(2)).toEqual(['job:2', 'job:3']);
  });

  it('that are slower than keys expire lose what is beyond queueLimit, told once', async () => {
    const { subscriber, logs } = await listen(server, {
      concurrency: 1,
      queueLimit: 5,
    });
    await server.expire('device:first');
    await began.one();

    await server.expire(...names('device', 9));
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        received: 10,
        dropped: 4,
      }),
    );

    expect(subscriber.status()).toMatchObject({ queued: 5, running: 1 });
    expect(logs.texts('error', 'queueLimit 5')).toHaveLength(1);
    held.resolve();
    expect(await began.next(5)).toEqual(names('device', 5));
    await eventually(() =>
      expect(logs.texts('warn', 'room again')).toHaveLength(1),
    );
  });

  it('are called once for each of many keys that expire together', async () => {
    held.resolve();
    const count = 5_000;
    const { subscriber } = await listen(server);
    const pipeline = server.redis.pipeline();
    const at = Date.now() + 300;
    const keys = names('device', count);
    for (const key of keys) pipeline.set(key, '', 'PXAT', at);
    await pipeline.exec();

    // Whatever of them it has not got to yet, Redis expires as it is asked for them.
    await eventually(async () => {
      await server.redis.exists(...keys);
      expect(subscriber.status().counters.handled).toBe(count);
    });

    expect(began.all).toHaveLength(count);
    expect(new Set(began.all).size).toBe(count);
  });
});

describe('a handler that fails', () => {
  // What reaches the process fails the run: vitest takes an unhandled rejection for an error.
  onEveryServer('however it does,', (server) => {
    class Failing {
      @OnKeyExpired('fail:*')
      async onDue({ captures: [how] }: KeyExpiredEvent) {
        began.add(how!);
        await Promise.resolve();
        throw how === 'undefined' ? undefined : new Error(how);
      }
    }

    it('does not hold up what comes after', async () => {
      const { subscriber, logs } = await createApp({
        imports: [redisExpiry(server, { concurrency: 1 })],
        providers: [Failing],
      });

      await server.expire('fail:1', 'fail:undefined', 'fail:3');

      expect(await began.next(3)).toEqual(['1', 'undefined', '3']);
      await eventually(() =>
        expect(subscriber.status().counters).toMatchObject({
          received: 3,
          failed: 3,
          retried: 0,
        }),
      );
      expect(logs.texts('error', 'Failing.onDue failed on key')).toHaveLength(
        3,
      );
    });
  });
});
