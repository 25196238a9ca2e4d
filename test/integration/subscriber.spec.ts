import { Inject, Injectable } from '@nestjs/common';
import { firstValueFrom, lastValueFrom, take, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  type OnKeyExpiredOptions,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  recording,
  redisExpiry,
} from '../support/app.js';
import { collect } from '../support/collect.js';
import { deferred, eventually, turns } from '../support/eventually.js';
import { type TestServer, onEveryServer } from '../support/servers.js';

async function listen(server: TestServer, options: TestOptions = {}) {
  const app = await createApp({ imports: [redisExpiry(server, options)] });
  return { ...app, subscriber: app.subscriber };
}

/** As a user who may listen on the keyevent channels only. */
async function listenRestricted(server: TestServer) {
  await server.setFlags('KEx');
  await server.redis.acl(
    'SETUSER',
    ...['app', 'on', '>pw', '~*', 'resetchannels', '+@all'],
    ...['&__keyevent@0__:*', '&__keyspace@0__:device:*'],
  );
  const { host, port } = server;
  const connection = { host, port, username: 'app', password: 'pw' };
  return listen(server, { connection });
}

const NOTHING = { patterns: 0, channels: [] };

const closed = expect.objectContaining({
  name: 'RedisExpiryError',
  code: 'CLOSED',
});

onEveryServer('RedisExpirySubscriber.subscribe', (server) => {
  it('hears every expiry once it has resolved, and none once unsubscribed', async () => {
    const { subscriber } = await listen(server);
    const events = collect<KeyExpiredEvent>();
    for (const round of [1, 2, 3]) {
      const subscription = await subscriber.subscribe('device:*', events.add);
      expect(subscription.pattern).toBe('device:*');
      await server.expire(`device:${round}`);
      expect(await events.one()).toMatchObject({
        key: `device:${round}`,
        captures: [`${round}`],
        pattern: 'device:*',
      });

      await subscription.unsubscribe();
      expect(await server.subscriptions()).toEqual(NOTHING);
      await server.expire(`device:${round}`);
    }

    const last = await subscriber.subscribe('end', events.add);
    await server.expire('end');
    expect(await events.one()).toMatchObject({ key: 'end' });
    expect(events.rest).toEqual([]);
    await last.unsubscribe();
  });

  it('calls nobody from the moment of unsubscribe on', async () => {
    const { subscriber } = await listen(server, { concurrency: 1 });
    const held = deferred();
    const heard = collect<string>();
    const blocker = await subscriber.subscribe('block', () => held.promise);
    const subscription = await subscriber.subscribe('device:*', ({ key }) =>
      heard.add(key),
    );
    await server.expire('block', 'device:1', 'device:2');
    await eventually(() => expect(subscriber.status().queued).toBe(2));

    const unsubscribed = subscription.unsubscribe();
    held.resolve();
    await unsubscribed;
    await blocker.unsubscribe();
    await turns(10);

    expect(heard.all).toEqual([]);
    expect(subscriber.status()).toMatchObject({
      queued: 0,
      counters: { received: 3, handled: 1, dropped: 2 },
    });
  });

  it('may be unsubscribed twice, and at the same time', async () => {
    const { subscriber } = await listen(server);
    const events = collect<KeyExpiredEvent>();
    const other = await subscriber.subscribe('device:*', events.add);
    const subscription = await subscriber.subscribe('device:*', events.add);

    await Promise.all([subscription.unsubscribe(), subscription.unsubscribe()]);
    await subscription.unsubscribe();

    await server.expire('device:1', 'device:2');
    expect((await events.next(2)).map(({ key }) => key)).toEqual([
      'device:1',
      'device:2',
    ]);
    await other.unsubscribe();
    expect(await server.subscriptions()).toEqual(NOTHING);
  });

  it('of one pattern many times is one subscription at Redis', async () => {
    const { subscriber } = await listen(server);
    const counts = Array.from({ length: 20 }, () => 0);
    const subscriptions = await Promise.all(
      counts.map((_, i) =>
        subscriber.subscribe('device:*', () => {
          counts[i]!++;
        }),
      ),
    );
    expect(await server.subscriptions()).toEqual({ patterns: 1, channels: [] });

    await server.expire('device:1');
    await eventually(() => expect(counts).toEqual(counts.map(() => 1)));

    await Promise.all(subscriptions.map((each) => each.unsubscribe()));
    expect(await server.subscriptions()).toEqual(NOTHING);
  });

  it('of many patterns at once hears all of them', async () => {
    const { subscriber } = await listen(server);
    const heard = collect<string>();
    const patterns = Array.from({ length: 50 }, (_, i) => `p${i}:*`);
    await Promise.all(
      patterns.map((pattern) =>
        subscriber.subscribe(pattern, (event) => heard.add(event.pattern)),
      ),
    );

    await server.expire(...patterns.map((_, i) => `p${i}:x`));

    expect(await heard.next(50)).toEqual(patterns);
  });

  it('subscribes and unsubscribes in any order, and ends where it was', async () => {
    const { subscriber } = await listen(server);
    const heard = collect<string>();
    const work = Array.from({ length: 30 }, async (_, i) => {
      const subscription = await subscriber.subscribe(
        `p${i % 3}:*`,
        ({ key }) => heard.add(`${i} ${key}`),
      );
      if (i !== 7) await subscription.unsubscribe();
    });
    await Promise.all(work);

    expect(await server.subscriptions()).toEqual({ patterns: 1, channels: [] });
    await server.expire('p0:x', 'p1:x', 'p2:x', 'p1:y');
    expect(await heard.next(2)).toEqual(['7 p1:x', '7 p1:y']);
    expect(heard.rest).toEqual([]);
  });

  it('is named in the log of a failure', async () => {
    const { subscriber, logs } = await listen(server);
    await subscriber.subscribe('a', function markOffline() {
      throw new Error('out of order');
    });
    await subscriber.subscribe('b', () => Promise.reject(new Error('later')));

    await server.expire('a', 'b');

    await eventually(() =>
      expect(logs.texts('error')).toEqual([
        'markOffline failed on key "a" (pattern "a"): out of order',
        'subscribe() failed on key "b" (pattern "b"): later',
      ]),
    );
  });

  it('keeps to the concurrency that it was given', async () => {
    const { subscriber } = await listen(server);
    const held = deferred();
    const began = collect<string>();
    await subscriber.subscribe(
      'device:*',
      async ({ key }) => {
        began.add(key);
        await held.promise;
      },
      { concurrency: 2 },
    );

    await server.expire('device:1', 'device:2', 'device:3');

    await eventually(() =>
      expect(subscriber.status()).toMatchObject({ queued: 1, running: 2 }),
    );
    await began.next(2);
    expect(began.rest).toEqual([]);
    held.resolve();
    expect(await began.one()).toBe('device:3');
  });

  it('may be called before the application has started', async () => {
    const heard = collect<string>();
    @Injectable()
    class Early {
      constructor(
        @Inject(RedisExpirySubscriber)
        private readonly subscriber: RedisExpirySubscriber,
      ) {}

      async onModuleInit() {
        await this.subscriber.subscribe('early:*', ({ key }) => heard.add(key));
        await server.expire('early:1');
      }
    }
    await createApp({ imports: [redisExpiry(server)], providers: [Early] });

    await server.expire('early:2');

    expect(await heard.next(2)).toEqual(['early:1', 'early:2']);
  });

  it('does not hold up the start when it is not waited for', async () => {
    const heard = collect<string>();
    @Injectable()
    class Early {
      constructor(
        @Inject(RedisExpirySubscriber) subscriber: RedisExpirySubscriber,
      ) {
        void subscriber.subscribe('early:*', ({ key }) => heard.add(key));
      }
    }
    await createApp({ imports: [redisExpiry(server)], providers: [Early] });

    await server.expire('early:1');

    expect(await heard.one()).toBe('early:1');
  });

  it('is refused by the ACL with a clear error, and leaves nothing', async () => {
    const { subscriber } = await listenRestricted(server);
    // Where one is refused and another is not, the one that works goes on.
    const heard = collect<string>();
    await subscriber.subscribe('device:*', ({ key }) => heard.add(key));
    const before = await server.subscriptions();

    await expect(
      subscriber.psubscribe('__keyspace@0__:lamp:*', () => {}),
    ).rejects.toMatchObject({
      name: 'RedisExpiryError',
      code: 'SUBSCRIPTION_REFUSED',
      message: expect.stringMatching(
        /refuses the subscription to "__keyspace@0__:lamp:\*": NOPERM/,
      ),
    });

    expect(await server.subscriptions()).toEqual(before);
    const [node] = subscriber.status().nodes;
    expect(node).toMatchObject({
      state: 'listening',
      patterns: ['device:*'],
      refused: [],
    });
    await server.expire('lamp:1', 'device:1');
    expect(await heard.one()).toBe('device:1');
  });

  const nothing = () => {};

  it.each<[what: string, args: unknown[], code: string]>([
    ['an empty pattern', ['', nothing], 'INVALID_PATTERN'],
    ['no pattern', [undefined, nothing], 'INVALID_PATTERN'],
    ['a pattern that is no text', [/a/, nothing], 'INVALID_PATTERN'],
    ['no handler', ['a'], 'INVALID_HANDLER'],
    ['a handler that is no function', ['a', 'log'], 'INVALID_HANDLER'],
    [
      'a bad option',
      ['a', nothing, { concurrency: 0 }],
      'INVALID_OPTION_CONCURRENCY',
    ],
    ['a bad group', ['a', nothing, { group: '' }], 'INVALID_OPTION_GROUP'],
    [
      'a bad retry',
      ['a', nothing, { retry: { attempts: 0 } }],
      'INVALID_OPTION_RETRY_ATTEMPTS',
    ],
    [
      'a group that cannot work, without punctual',
      ['a', nothing, { group: 'mailers' }],
      'GROUP_REFUSED',
    ],
    [
      'an unknown option',
      ['a', nothing, { once: true }],
      'INVALID_OPTION_ONCE',
    ],
  ])('rejects %s', async (_, args, code) => {
    const { subscriber } = await listen(server);
    const [pattern, handler, options] = args as [
      string,
      () => void,
      OnKeyExpiredOptions,
    ];

    await expect(
      subscriber.subscribe(pattern, handler, options),
    ).rejects.toMatchObject({ name: 'RedisExpiryError', code });
    expect(await server.subscriptions()).toEqual(NOTHING);
  });
});

onEveryServer('RedisExpirySubscriber.expirations', (server) => {
  it('subscribes with its first subscriber and unsubscribes with its last', async () => {
    const { subscriber } = await listen(server);
    const expirations = subscriber.expirations('device:*');
    await turns(3);
    expect(await server.subscriptions()).toEqual(NOTHING);
    const [first, second] = [collect<string>(), collect<string>()];

    for (const round of [1, 2]) {
      const one = expirations.subscribe(({ key }) => first.add(key));
      const two = expirations.subscribe(({ key }) => second.add(key));
      await eventually(async () =>
        expect(await server.subscriptions()).toEqual({
          patterns: 1,
          channels: [],
        }),
      );
      await server.expire(`device:${round}`);
      expect(await first.one()).toBe(`device:${round}`);
      expect(await second.one()).toBe(`device:${round}`);
      expect(subscriber.status().counters.received).toBe(2 * round - 1);

      one.unsubscribe();
      await server.expire(`device:${round}`);
      expect(await second.one()).toBe(`device:${round}`);
      two.unsubscribe();
      await eventually(async () =>
        expect(await server.subscriptions()).toEqual(NOTHING),
      );
    }
    expect(first.all).toEqual(['device:1', 'device:2']);
  });

  it('works with operators that end it', async () => {
    const { subscriber } = await listen(server);
    const two = lastValueFrom(
      subscriber.expirations('device:*').pipe(take(2), toArray()),
    );
    await eventually(async () =>
      expect((await server.subscriptions()).patterns).toBe(1),
    );

    await server.expire('device:1', 'device:2', 'device:3');

    expect((await two).map(({ key }) => key)).toEqual(['device:1', 'device:2']);
    await eventually(async () =>
      expect(await server.subscriptions()).toEqual(NOTHING),
    );
  });

  it('may be unsubscribed before it has subscribed', async () => {
    const { subscriber } = await listen(server);

    subscriber.expirations('device:*').subscribe().unsubscribe();

    await subscriber.subscribe('other:*', () => {});
    await eventually(async () => {
      expect(await server.subscriptions()).toEqual({
        patterns: 1,
        channels: [],
      });
      expect(subscriber.status().nodes).toMatchObject([
        { patterns: ['other:*'] },
      ]);
    });
  });

  it('completes when the application closes', async () => {
    const { subscriber, close } = await listen(server);
    const events = collect<string>();
    subscriber.expirations('device:*').subscribe({
      next: ({ key }) => events.add(key),
      complete: () => events.add('complete'),
      error: (error: unknown) => events.add(String(error)),
    });
    await eventually(async () =>
      expect((await server.subscriptions()).patterns).toBe(1),
    );
    await server.expire('device:1');
    expect(await events.one()).toBe('device:1');

    await close();

    expect(await events.one()).toBe('complete');
    expect(events.rest).toEqual([]);
  });

  it('does not hold up the close of the application', async () => {
    // A test that waited for it would not end.
    const { subscriber, close } = await listen(server, {
      shutdownTimeout: 3_600_000,
    });
    const events = collect<string>();
    subscriber.expirations('device:*').subscribe(({ key }) => events.add(key));
    await eventually(async () =>
      expect((await server.subscriptions()).patterns).toBe(1),
    );
    for (let i = 0; i < 20; i++)
      void server.redis.set(`device:${i}`, '', 'PX', 1);
    await server.expire('device:last');

    await close();

    expect(subscriber.status().queued).toBe(0);
  });

  it('errors when the ACL refuses it', async () => {
    const { subscriber } = await listenRestricted(server);
    await subscriber.subscribe('device:*', () => {});
    await server.redis.acl(
      'SETUSER',
      ...['app', 'resetchannels', '&__keyspace@0__:device:*'],
    );
    await eventually(() =>
      expect(subscriber.status().nodes).toMatchObject([{ state: 'listening' }]),
    );

    await expect(
      firstValueFrom(subscriber.expirations('lamp:*')),
    ).rejects.toMatchObject({ code: 'SUBSCRIPTION_REFUSED' });
  });

  it('throws at once for what is no pattern', async () => {
    const { subscriber } = await listen(server);

    for (const pattern of ['', undefined, 5])
      expect(() => subscriber.expirations(pattern as string)).toThrow(
        expect.objectContaining({ code: 'INVALID_PATTERN' }),
      );
  });

  it('counts a subscriber that throws as no failure of the process', async () => {
    const { subscriber } = await listen(server);
    const events = collect<string>();
    subscriber.expirations('device:*').subscribe(({ key }) => events.add(key));
    await eventually(async () =>
      expect((await server.subscriptions()).patterns).toBe(1),
    );

    await server.expire('device:1', 'device:2');

    expect(await events.next(2)).toEqual(['device:1', 'device:2']);
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({ handled: 2 }),
    );
  });
});

onEveryServer('RedisExpirySubscriber.psubscribe', (server) => {
  async function hear(channelPattern: string, options: TestOptions = {}) {
    const app = await listen(server, options);
    const heard = collect<[string, string, string]>();
    const subscription = await app.subscriber.psubscribe(
      channelPattern,
      (...message) => heard.add(message),
    );
    return { ...app, heard, subscription };
  }

  it.each(['', 'Kx', 'Kg$'])(
    'hears expired, with the flags it takes added to "%s"',
    async (flags) => {
      await server.setFlags(flags);
      const { heard } = await hear('__keyevent@0__:expired');

      await server.expire('a:b');

      expect(await heard.one()).toEqual([
        '__keyevent@0__:expired',
        '__keyevent@0__:expired',
        'a:b',
      ]);
      const now = await server.flags();
      expect(Array.from(flags).filter((l) => !now.includes(l))).toEqual([]);
      expect(now).toMatch(/E/);
    },
  );

  it('hears evicted, with its class added', async () => {
    const { heard } = await hear('__keyevent@0__:evicted');
    expect(await server.flags()).toMatch(/e/);

    await server.redis.set('a', 'x'.repeat(1_000));
    await server.redis.config('SET', 'maxmemory-policy', 'allkeys-random');
    await server.redis.config('SET', 'maxmemory', '1');
    await server.redis.set('b', '').catch(() => undefined);
    await server.redis.config('SET', 'maxmemory', '0');

    expect(await heard.one()).toEqual([
      '__keyevent@0__:evicted',
      '__keyevent@0__:evicted',
      'a',
    ]);
  });

  it.each([
    ['set', '$', () => server.redis.set('k', '')],
    [
      'del',
      'g',
      () => server.redis.set('k', '').then(() => server.redis.del('k')),
    ],
    ['new', 'n', () => server.redis.set('k', '')],
    ['keymiss', 'm', () => server.redis.get('k')],
    ['hset', 'h', () => server.redis.hset('k', 'f', '')],
    ['lpush', 'l', () => server.redis.lpush('k', '')],
    ['sadd', 's', () => server.redis.sadd('k', '')],
    ['zadd', 'z', () => server.redis.zadd('k', 1, '')],
    ['xadd', 't', () => server.redis.xadd('k', '*', 'f', '')],
    ['expire', 'g', () => server.redis.set('k', '', 'EX', 100)],
  ])('hears %s, with the class "%s" added', async (event, letter, act) => {
    const channel = `__keyevent@0__:${event}`;
    const { heard } = await hear(channel);
    expect(await server.flags()).toContain(letter);

    await act();

    expect(await heard.one()).toEqual([channel, channel, 'k']);
  });

  it('hears what happens to some keys', async () => {
    await server.setFlags('g$');
    const { heard } = await hear('__keyspace@0__:foo*');

    await server.redis.set('foo:1', '');
    await server.redis.set('bar', '');
    await server.redis.del('foo:1');
    await server.expire('foo');

    const pattern = '__keyspace@0__:foo*';
    expect(await heard.next(5)).toEqual([
      [pattern, '__keyspace@0__:foo:1', 'set'],
      [pattern, '__keyspace@0__:foo:1', 'del'],
      [pattern, '__keyspace@0__:foo', 'set'],
      [pattern, '__keyspace@0__:foo', 'expire'],
      [pattern, '__keyspace@0__:foo', 'expired'],
    ]);
  });

  it('hears the channels of any database', async () => {
    const { heard } = await hear('__keyevent@*__:expired');

    await server.redis.select(5);
    try {
      await server.expire('k');
    } finally {
      await server.redis.select(0);
    }

    expect(await heard.one()).toEqual([
      '__keyevent@*__:expired',
      '__keyevent@5__:expired',
      'k',
    ]);
  });

  it('names keys as Redis does, with the keyPrefix', async () => {
    const { heard } = await hear('__keyspace@0__:app:*', {
      connection: { port: server.port, keyPrefix: 'app:' },
    });

    await server.expire('app:k');

    expect((await heard.one())[1]).toBe('__keyspace@0__:app:k');
  });

  it('works beside handlers of the same channel, and each ends by itself', async () => {
    await server.setFlags('Ex');
    const { heard, subscriber, subscription } = await hear(
      '__keyevent@0__:expired',
    );
    const events = collect<string>();
    const other = await subscriber.subscribe('*', ({ key }) => events.add(key));
    await server.expire('1');
    expect((await heard.one())[2]).toBe('1');
    expect(await events.one()).toBe('1');

    await subscription.unsubscribe();
    await subscription.unsubscribe();
    await server.expire('2');
    expect(await events.one()).toBe('2');
    expect(heard.rest).toEqual([]);

    await other.unsubscribe();
    expect(await server.subscriptions()).toEqual(NOTHING);
  });

  it.each(['Ex', 'Kx', 'KEx', 'KEA'])(
    'takes nothing from handlers, and adds nothing to them: "%s"',
    async (flags) => {
      await server.setFlags(flags);
      const { subscriber } = await listen(server);
      const events = collect<string>();
      for (const pattern of ['*', 'device:*', 'device:1'])
        await subscriber.subscribe(pattern, ({ key }) => events.add(key));
      const messages = collect<string>();
      for (const channel of [
        '__keyevent@0__:expired',
        '__keyspace@0__:*',
        '__keyspace@0__:device:1',
        '__key*@0__:*',
      ])
        await subscriber.psubscribe(channel, (pattern) =>
          messages.add(pattern),
        );

      await server.expire('device:1', 'other');

      expect(await events.next(4)).toEqual([
        ...['device:1', 'device:1', 'device:1'],
        'other',
      ]);
      await eventually(() =>
        expect(subscriber.status().counters.handled).toBe(4),
      );
      expect(subscriber.status().counters.received).toBe(4);
      expect(messages.all).toContain('__key*@0__:*');
    },
  );

  it('hears nothing from the moment of unsubscribe on', async () => {
    const { heard, subscription } = await hear('__keyevent@0__:expired');

    const unsubscribed = subscription.unsubscribe();
    await server.expire('k');
    await unsubscribed;
    await turns(3);

    expect(heard.all).toEqual([]);
    expect(await server.subscriptions()).toEqual(NOTHING);
  });

  it('lets no failure of its handler reach the process, or another handler', async () => {
    const { heard, logs, subscriber } = await hear('__keyevent@0__:expired');
    await subscriber.psubscribe('__keyevent@0__:expired', () => {
      throw new Error('thrown');
    });
    const rejecting = () => Promise.reject(new Error('rejected'));
    await subscriber.psubscribe(
      '__keyevent@0__:expired',
      rejecting as () => never,
    );
    const after = collect<string>();
    await subscriber.psubscribe('__keyevent@0__:expired', (...[, , key]) =>
      after.add(key),
    );

    await server.expire('1', '2');

    expect((await heard.next(2)).map(([, , key]) => key)).toEqual(['1', '2']);
    expect(await after.next(2)).toEqual(['1', '2']);
    expect(logs.texts('error', '__keyevent@0__:expired')).toHaveLength(4);
  });

  it.each<[what: string, args: unknown[], code: string]>([
    ['an empty pattern', ['', () => {}], 'INVALID_PATTERN'],
    ['no pattern', [undefined, () => {}], 'INVALID_PATTERN'],
    ['no handler', ['__keyevent@0__:expired'], 'INVALID_HANDLER'],
  ])('rejects %s', async (_, args, code) => {
    const { subscriber } = await listen(server);
    const [pattern, handler] = args as [string, () => void];

    await expect(subscriber.psubscribe(pattern, handler)).rejects.toMatchObject(
      { name: 'RedisExpiryError', code },
    );
  });
});

onEveryServer('RedisExpirySubscriber.status', (server) => {
  it('tells how listening and handling go', async () => {
    const { subscriber } = await createApp({
      imports: [redisExpiry(server)],
      providers: [recording(collect(), 'device:*', 'lamp:1')],
    });
    const status = subscriber.status();
    expect(status).toMatchObject({
      counters: {
        received: 0,
        handled: 0,
        failed: 0,
        retried: 0,
        deadLettered: 0,
        superseded: 0,
        recovered: 0,
        dropped: 0,
      },
      queued: 0,
      running: 0,
    });
    expect(status.nodes).toHaveLength(1);
    expect(status.nodes[0]).toMatchObject({
      address: server.address,
      role: 'primary',
      state: 'listening',
      refused: [],
      gaps: 0,
      selfTest: 'passed',
      flags: await server.flags(),
      missingFlags: '',
    });
    expect(status.nodes[0]!.patterns.toSorted()).toEqual([
      'device:*',
      'lamp:1',
    ]);
    expect(status.nodes[0]).not.toHaveProperty('lastGap');
    expect(status.nodes[0]).not.toHaveProperty('lastError');
  });

  it('calls no gap what one subscription adds to the flags', async () => {
    const { subscriber, logs } = await listen(server);

    await subscriber.psubscribe('__keyevent@0__:evicted', () => {});

    const [node] = subscriber.status().nodes;
    expect(node).toMatchObject({ patterns: ['__keyevent@0__:evicted'] });
    expect(node!.flags).toMatch(/e/);
    // Expiries were announced all the time.
    expect(node).toMatchObject({ gaps: 0 });
    expect(logs.texts('warn')).toEqual([]);
  });

  it('is plain data, and a copy', async () => {
    const { subscriber } = await listen(server);

    const status = subscriber.status();
    Object.assign(status.counters, { received: 99 });
    (status.nodes as unknown[]).length = 0;

    expect(subscriber.status().counters.received).toBe(0);
    expect(subscriber.status().nodes).toHaveLength(1);
    // Functions and the like cannot be cloned, and moments are dates.
    const now = subscriber.status();
    expect(structuredClone(now)).toEqual(now);
    expect(JSON.parse(JSON.stringify(now))).toMatchObject({
      nodes: [{ since: now.nodes[0]!.since.toISOString() }],
    });
  });

  it('tells of a server that has become a replica', async () => {
    await server.redis.replicaof('127.0.0.1', 1);
    try {
      const { subscriber, logs } = await listen(server);

      expect(subscriber.status().nodes).toMatchObject([{ role: 'replica' }]);
      expect(logs.texts('warn', 'is a replica')).toHaveLength(1);
    } finally {
      await server.redis.replicaof('NO', 'ONE');
    }
  });
});

onEveryServer('RedisExpirySubscriber.ready', (server) => {
  it('resolves while it listens, and starts what was not started', async () => {
    const { subscriber } = await listen(server);
    await expect(subscriber.ready()).resolves.toBeUndefined();
    await expect(subscriber.ready()).resolves.toBeUndefined();
  });

  it('tells, with lazyConnect, when it listens', async () => {
    const { subscriber } = await listen(server, {
      connection: { port: server.port, lazyConnect: true },
    });

    await subscriber.ready();

    expect(subscriber.status().nodes).toMatchObject([{ state: 'listening' }]);
  });
});

onEveryServer(
  'RedisExpirySubscriber, once the application is closed,',
  (server) => {
    it('refuses everything with CLOSED, and still tells its status', async () => {
      const { subscriber, close } = await listen(server);
      const subscription = await subscriber.subscribe('device:*', () => {});
      await close();

      await expect(subscriber.subscribe('a', () => {})).rejects.toEqual(closed);
      await expect(
        subscriber.psubscribe('__keyevent@0__:expired', () => {}),
      ).rejects.toEqual(closed);
      await expect(subscriber.ready()).rejects.toEqual(closed);
      await expect(subscription.unsubscribe()).resolves.toBeUndefined();
      expect(subscriber.status().nodes).toMatchObject([{ state: 'closed' }]);
      expect(await server.connections()).toEqual([]);
    });

    it('ends expirations at once', async () => {
      const { subscriber, close } = await listen(server);
      await close();

      const ended = collect<string>();
      subscriber.expirations('device:*').subscribe({
        complete: () => ended.add('complete'),
        error: (error: unknown) => ended.add(String(error)),
      });

      await ended.one();
      expect(ended.all).toHaveLength(1);
    });

    it('refuses what comes while it closes', async () => {
      const { subscriber, close } = await listen(server);
      const held = deferred();
      await subscriber.subscribe('device:*', () => held.promise);
      await server.expire('device:1');
      await eventually(() => expect(subscriber.status().running).toBe(1));

      const closing = close();
      await turns(2);
      await expect(subscriber.subscribe('a', () => {})).rejects.toEqual(closed);
      held.resolve();
      await closing;
    });

    it('counts nothing twice that is unsubscribed then', async () => {
      const { subscriber, close } = await listen(server, {
        concurrency: 1,
        shutdownTimeout: 10,
      });
      const held = deferred();
      const subscription = await subscriber.subscribe(
        'device:*',
        () => held.promise,
      );
      await server.expire('device:1', 'device:2', 'device:3');
      await eventually(() => expect(subscriber.status().queued).toBe(2));
      await close();

      await subscription.unsubscribe();

      expect(subscriber.status()).toMatchObject({
        queued: 0,
        running: 1,
        counters: { received: 3, dropped: 2 },
      });
      held.resolve();
      await eventually(() => expect(subscriber.status().running).toBe(0));
    });
  },
);

describe('RedisExpirySubscriber of a server that refuses to be reached', () => {
  it('rejects ready and subscribe of an application that did not start', async () => {
    const early = collect<unknown>();
    @Injectable()
    class Early {
      constructor(
        @Inject(RedisExpirySubscriber)
        private readonly subscriber: RedisExpirySubscriber,
      ) {}

      async onModuleInit() {
        await this.subscriber
          .subscribe('early:*', () => {})
          .catch((error: unknown) => early.add(error));
        await this.subscriber
          .ready()
          .catch((error: unknown) => early.add(error));
      }
    }
    const connection = { port: 1, connectTimeout: 200 };
    await expect(
      createApp({
        imports: [redisExpiry({ url: '' } as TestServer, { connection })],
        providers: [Early],
      }),
    ).rejects.toMatchObject({ code: 'CONNECT_FAILED' });

    expect(early.all).toMatchObject([
      { code: 'CONNECT_FAILED' },
      { code: 'CONNECT_FAILED' },
    ]);
  });
});
