import { Inject, Injectable, Scope } from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
} from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { connect, onEveryServer, useServer } from '../../support/servers.js';

const keysOf = (events: readonly KeyExpiredEvent[]): string[] =>
  events.map(({ key }) => key).toSorted();

onEveryServer('a group', (server) => {
  it('hands an event over, with all that is known of it', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('device:*', events.add)]);
    const deadline = Date.now() + 200;
    await server.redis.set('device:42', '1', 'PXAT', deadline);

    const event = await events.one();

    expect(event).toEqual({
      key: 'device:42',
      keyBuffer: Buffer.from('device:42'),
      pattern: 'device:*',
      captures: ['42'],
      database: 0,
      deadline: event.deadline,
      lateness: event.lateness,
      source: 'notification',
      group: 'presence',
      id: `device:42@${event.deadline!.getTime()}`,
      attempt: 1,
      signal: expect.any(AbortSignal) as unknown,
    });
    expect(Math.abs(event.deadline!.getTime() - deadline)).toBeLessThan(3);
    expect(event.lateness).toBeGreaterThanOrEqual(0);
    expect(event.lateness).toBeLessThan(paced(1_000));
  });

  it('hands each expiry to one of its instances', async () => {
    const events = collect<KeyExpiredEvent>();
    for (let i = 0; i < 3; i++)
      await groupApp(server, [handler('k*', events.add)]);
    const all = names('k', 300);
    for (const key of all) await server.redis.set(key, '1', 'PX', 200);

    await events.next(300);
    await groupIsDone(server);

    expect(keysOf(events.all)).toEqual(all.toSorted());
    expect(events.all.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  it('hands keys that nobody could have known: created and gone at once', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', events.add)]);
    await server.expire(...names('k', 100));

    await events.next(100);
    await groupIsDone(server);

    expect(keysOf(events.all)).toEqual(names('k', 100).toSorted());
    expect(new Set(events.all.map(({ id }) => id)).size).toBe(100);
  });

  it('hands every life of a key over, each under an id of its own', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k', events.add)]);
    for (let life = 1; life <= 20; life++) {
      await server.redis.set('k', '1', 'PX', 10);
      await events.next(1);
    }
    await groupIsDone(server);

    expect(new Set(events.all.map(({ id }) => id)).size).toBe(20);
    expect(events.all).toHaveLength(20);
  });

  it('hands an expiry over once where two patterns match, to each of them', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [
      handler('k*', events.add, {}, 'A'),
      handler('*x', events.add, {}, 'B'),
    ]);
    const all = names('k', 50).map((key) => `${key}x`);
    for (const key of all.slice(25))
      await server.redis.set(key, '1', 'PX', 200);
    await server.expire(...all.slice(0, 25));

    await events.next(100);
    await groupIsDone(server);

    expect(events.all).toHaveLength(100);
    const runs = new Set(events.all.map((e) => `${e.pattern} ${e.id}`));
    expect(runs.size).toBe(100);
    expect(new Set(events.all.map(({ id }) => id)).size).toBe(50);
  });

  it('makes no event of keys that live on: renewed, persisted, deleted, renamed', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k:*', events.add)]);
    const { redis } = server;
    const ways = ['renewed', 'beaten', 'persisted', 'deleted', 'renamed'];
    for (const way of ways) await redis.set(`k:${way}`, '1', 'PX', 400);
    await eventually(async () => {
      expect((await groupState(server))['index']).toBe(5);
    });
    await redis.pexpire('k:renewed', 60_000);
    await redis.set('k:beaten', '2', 'PX', 60_000);
    await redis.persist('k:persisted');
    await redis.del('k:deleted');
    await redis.rename('k:renamed', 'elsewhere');
    await redis.set('k:fence', '1', 'PX', 600);

    expect((await events.one()).key).toBe('k:fence');
    await groupIsDone(server);
    expect(events.all).toHaveLength(1);
    expect((await groupState(server))['index']).toBe(2);
  });

  it('is on time where another client shortens a TTL', async () => {
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k', events.add)]);
    await server.redis.set('k', '1', 'PX', 60_000);
    await eventually(async () => {
      expect((await groupState(server))['index']).toBe(1);
    });
    const deadline = Date.now() + 300;
    await server.redis.pexpireat('k', deadline);

    const event = await events.one();
    expect(Math.abs(event.deadline!.getTime() - deadline)).toBeLessThan(3);
    expect(event.lateness).toBeLessThan(paced(1_000));
  });

  it('finds keys that were there before it, and were given a deadline late', async () => {
    const events = collect<KeyExpiredEvent>();
    await server.redis.set('k:before', '1', 'PX', paced(1_500));
    await server.redis.set('k:late', '1');
    const { subscriber } = await groupApp(server, [handler('k:*', events.add)]);
    await subscriber.ready();
    await server.redis.pexpire('k:late', 300);

    expect(keysOf(await events.next(2))).toEqual(['k:before', 'k:late']);
  });

  it('leaves only what it needs once all is handled', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('*', events.add)]);
    for (const key of names('k', 200))
      await server.redis.set(key, '1', 'PX', 100);
    await events.next(200);
    await groupIsDone(server);
    await eventually(async () => {
      expect(await groupState(server)).toEqual({
        events: 0,
        lease: 'string',
        watched: 'string',
        request: 'string',
        instances: 1,
        handlers: 1,
        listened: 'string',
      });
    });
    const others = (await server.redis.keys('*')).filter(
      (key) => !key.startsWith('rx:{presence}:'),
    );
    expect(others).toEqual([]);
    expect(await server.redis.pttl('rx:{presence}:lease')).toBeGreaterThan(0);
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { group: 'presence', waiting: 0, pending: 0, tracked: 0 },
      ]),
    );
  });
});

describe('a group', () => {
  const server = useServer();

  it('supersedes an event whose key was written again before its turn', async () => {
    const events = collect<KeyExpiredEvent>();
    const go = deferred();
    const { subscriber } = await groupApp(
      server,
      [
        handler('slow', (event) => {
          events.add(event);
          return go.promise;
        }),
        handler('k', events.add),
      ],
      { concurrency: 1 },
    );
    await server.expire('slow');
    await events.one();
    await server.expire('k');
    await eventually(async () => {
      expect((await groupState(server))['events']).toBe(2);
    });
    await server.redis.set('k', 'alive');
    go.resolve();
    await groupIsDone(server);

    expect(keysOf(events.all)).toEqual(['slow']);
    expect(subscriber.status().counters.superseded).toBe(1);
  });

  it('counts as superseded what Redis announces of a key that was overwritten', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(server, [handler('k*', events.add)]);
    // SET over a key that ran out makes Redis announce the death of a living key.
    for (const key of names('k', 50)) {
      await server.redis.set(key, '1', 'PX', 2);
      await new Promise((resolve) => setTimeout(resolve, 3));
      await server.redis.set(key, '2', 'PX', 60_000);
    }
    await server.redis.set('kfence', '1', 'PX', 100);
    await eventually(() => expect(keysOf(events.all)).toContain('kfence'));
    await groupIsDone(server);

    const { counters } = subscriber.status();
    expect(counters.handled).toBe(events.all.length);
    // Those of which Redis or a look had got hold in time were handed over, and rightly so.
    expect(events.all.length + counters.superseded).toBeLessThanOrEqual(51);
  });

  it('runs no more handlers at once than it may, and leaves the rest at Redis', async () => {
    let running = 0;
    let most = 0;
    const done = collect<string>();
    const work = async ({ key }: KeyExpiredEvent): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      done.add(key);
    };
    await groupApp(server, [handler('k*', work)], { concurrency: 7 });
    const pipeline = server.redis.pipeline();
    for (const key of names('k', 400)) pipeline.set(key, '1', 'PX', 200);
    await pipeline.exec();
    let pending = 0;
    while (done.all.length < 400) {
      const [count] = await server.redis.xpending(
        'rx:{presence}:events',
        'presence',
      );
      pending = Math.max(pending, count as number);
      await done.next(20);
    }

    expect(most).toBe(7);
    // Ended ones may still be on their way to be acknowledged.
    expect(pending).toBeLessThanOrEqual(14 + 20);
    expect(done.all).toHaveLength(400);
  });

  it('takes no more events than it may run, for all of its groups together', async () => {
    const go = deferred();
    const begun = collect<string>();
    const work = async ({ key, group }: KeyExpiredEvent): Promise<void> => {
      begun.add(`${group} ${key}`);
      await go.promise;
    };
    const groups = ['a', 'b', 'c'];
    const { subscriber } = await groupApp(
      server,
      groups.map((group) => handler('k*', work, { group }, group)),
      { concurrency: 8 },
    );
    const appended = server.redis.multi();
    for (const group of groups)
      for (const key of names('k', 40))
        appended.xadd(`rx:{${group}}:events`, '*', 'k', key, 'd', 1, 't', 2);
    await appended.exec();
    await begun.next(8);
    const pending = async (): Promise<number> => {
      let sum = 0;
      for (const group of groups)
        sum += (
          await server.redis.xpending(`rx:{${group}}:events`, group)
        )[0] as number;
      return sum;
    };

    expect(await pending()).toBe(8);
    expect(subscriber.status()).toMatchObject({ running: 8, queued: 0 });
    go.resolve();
    await begun.next(112);
    for (const group of groups) await groupIsDone(server, group);
    expect(new Set(begun.all).size).toBe(120);
  });

  it('bounds one handler by its own concurrency', async () => {
    let running = 0;
    let most = 0;
    const done = collect<string>();
    const work = async ({ key }: KeyExpiredEvent): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running--;
      done.add(key);
    };
    await groupApp(server, [handler('k*', work, { concurrency: 2 })], {
      leaseDuration: 300,
    });
    await server.expire(...names('k', 200));
    await done.next(200);
    await groupIsDone(server);

    expect(most).toBe(2);
    expect(done.all).toHaveLength(200);
  });

  it('takes a thousand events at most for a handler that is busy, and leaves the rest to others', async () => {
    const go = deferred();
    const done = collect<string>();
    const work = async ({ key }: KeyExpiredEvent): Promise<void> => {
      await go.promise;
      done.add(key);
    };
    await groupApp(server, [handler('k*', work, { concurrency: 1 })]);
    const [stream, group] = ['rx:{presence}:events', 'presence'];
    const pipeline = server.redis.pipeline();
    for (const key of names('k', 2_500)) pipeline.set(key, '', 'PX', 100);
    await pipeline.exec();
    await eventually(async () =>
      expect(await server.redis.xlen(stream)).toBe(2_500),
    );
    await eventually(async () =>
      expect((await server.redis.xpending(stream, group))[0]).toBe(1_000),
    );

    const others = collect<string>();
    const free = ({ key }: KeyExpiredEvent): void => others.add(key);
    await groupApp(server, [handler('k*', free)]);
    await others.next(1_500);
    expect(done.all).toEqual([]);
    go.resolve();
    await groupIsDone(server);

    expect(new Set([...done.all, ...others.all]).size).toBe(2_500);
  });

  it('keeps an event whose handler takes longer than the lease', async () => {
    const events = collect<KeyExpiredEvent>();
    const leaseDuration = paced(300);
    const work = async (event: KeyExpiredEvent): Promise<void> => {
      events.add(event);
      await new Promise((resolve) => setTimeout(resolve, 5 * leaseDuration));
    };
    for (let i = 0; i < 2; i++)
      await groupApp(server, [handler('k', work)], { leaseDuration });
    await server.expire('k');
    await events.one();
    await groupIsDone(server);

    expect(events.all).toHaveLength(1);
  });

  it('lets a broadcast handler live beside it', async () => {
    const [group, broadcast] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    for (let i = 0; i < 2; i++)
      await groupApp(server, [
        handler('k*', group.add),
        handler('k*', broadcast.add, { group: false }),
      ]);
    await server.expire(...names('k', 20));
    await group.next(20);
    await broadcast.next(40);
    await groupIsDone(server);

    expect(keysOf(group.all)).toEqual(names('k', 20).toSorted());
    expect(broadcast.all).toHaveLength(40);
    for (const event of broadcast.all) {
      expect(event.attempt).toBe(1);
      expect(event).not.toHaveProperty('id');
      expect(event).not.toHaveProperty('group');
    }
  });

  it('may be a single handler of a module that broadcasts', async () => {
    const [group, broadcast] = [
      collect<KeyExpiredEvent>(),
      collect<KeyExpiredEvent>(),
    ];
    for (let i = 0; i < 2; i++)
      await groupApp(
        server,
        [
          handler('k*', group.add, { group: 'billing' }),
          handler('k*', broadcast.add),
        ],
        { group: undefined },
      );
    await server.expire(...names('k', 20));
    await group.next(20);
    await broadcast.next(40);
    await groupIsDone(server, 'billing');

    expect(group.all).toHaveLength(20);
    expect(group.all.every((event) => event.group === 'billing')).toBe(true);
    expect(broadcast.all.every((event) => event.group === undefined)).toBe(
      true,
    );
    expect(await server.redis.exists('rx:{presence}:lease')).toBe(0);
  });

  it('shares nothing with another group: both get every expiry once', async () => {
    const [one, two] = [collect<KeyExpiredEvent>(), collect<KeyExpiredEvent>()];
    await groupApp(server, [
      handler('k*', one.add),
      handler('k*', two.add, { group: 'other' }, 'Other'),
    ]);
    await groupApp(server, [handler('k*', two.add)], { group: 'other' });
    const all = names('k', 100);
    for (const key of all) await server.redis.set(key, '1', 'PX', 300);
    await Promise.all([one.next(100), two.next(100)]);
    await groupIsDone(server);
    await groupIsDone(server, 'other');

    expect(keysOf(one.all)).toEqual(all.toSorted());
    expect(keysOf(two.all)).toEqual(all.toSorted());
  });

  it('makes a request-scoped handler anew for each event, which it may inject', async () => {
    const events = collect<{ instance: number; event: KeyExpiredEvent }>();
    let instances = 0;
    @Injectable({ scope: Scope.REQUEST })
    class PerEvent {
      private readonly instance = ++instances;
      constructor(@Inject(REQUEST) private readonly request: KeyExpiredEvent) {}

      @OnKeyExpired('k*')
      onExpired(event: KeyExpiredEvent): void {
        expect(this.request).toBe(event);
        events.add({ instance: this.instance, event });
        if (event.attempt === 1) throw new Error('on purpose');
      }
    }
    await groupApp(server, [PerEvent], { retry: { backoff: 10 } });
    await server.expire('k1', 'k2');
    const all = await events.next(4);

    expect(new Set(all.map(({ instance }) => instance)).size).toBe(4);
    const attempts = all.map(({ event }) => event.attempt);
    expect(attempts.toSorted((a, b) => a - b)).toEqual([1, 1, 2, 2]);
  });

  it('has handlers of controllers and of subscriptions too', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, group: 'g' }),
      ],
    });
    const subscription = await subscriber.subscribe('k*', events.add);
    expect(subscription.pattern).toBe('k*');
    await server.redis.set('k1', '1', 'PX', 200);
    expect(await events.one()).toMatchObject({ key: 'k1', group: 'g' });
    await subscription.unsubscribe();
    await server.expire('k2');
    await server.redis.set('k3', '1', 'PX', 50);
    await eventually(async () => {
      expect(await server.redis.exists('k3')).toBe(0);
      expect(await groupState(server, 'g')).toMatchObject({ events: 0 });
    });
    expect(events.all).toHaveLength(1);
  });
});

describe('the keys of a group', () => {
  const server = useServer();

  it('may be any bytes', async () => {
    const events = collect<KeyExpiredEvent>();
    const failed = new Set<string>();
    await groupApp(
      server,
      [
        handler('*', (event) => {
          events.add(event);
          // Once by the stream's fields, once by the payload of a retry.
          if (failed.has(event.id!)) return;
          failed.add(event.id!);
          throw new Error('on purpose');
        }),
      ],
      { retry: { backoff: 5 } },
    );
    const keys = [
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
      Buffer.from([0xff]),
      Buffer.from([0xef, 0xbf, 0xbd]),
      Buffer.from([0]),
      Buffer.from('é \n"'),
      Buffer.alloc(5_000, 'x'),
    ];
    for (const key of keys) await server.redis.set(key, '1', 'PX', 100);
    await events.next(12);
    await groupIsDone(server);

    const hex = (all: readonly Buffer[]) =>
      all.map((key) => key.toString('hex')).toSorted();
    for (const attempt of [1, 2]) {
      const tried = events.all.filter((event) => event.attempt === attempt);
      expect(hex(tried.map(({ keyBuffer }) => keyBuffer))).toEqual(hex(keys));
    }
    expect(new Set(events.all.map(({ id }) => id)).size).toBe(keys.length);
  });

  it('are never the own keys of a group, whatever the pattern', async () => {
    const events = collect<KeyExpiredEvent>();
    // As an instance of another group leaves it that was killed.
    await server.redis.set('rx:{other}:lease', 'dead', 'PX', 1_500);
    const { subscriber } = await groupApp(server, [handler('*', events.add)]);
    await subscriber.ready();
    expect(await server.redis.zrange('rx:{presence}:index', '0', '-1')).toEqual(
      [],
    );
    await eventually(async () => {
      expect(await server.redis.exists('rx:{other}:lease')).toBe(0);
    });
    await server.redis.set('fence', '1', 'PX', 200);
    await eventually(() => expect(keysOf(events.all)).toContain('fence'));
    await groupIsDone(server);

    expect(keysOf(events.all)).toEqual(['fence']);
  });

  it('may have a prefix, and live in another database', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(
      server,
      [handler('k*', events.add, { retry: { attempts: 1 } })],
      {
        connection: {
          ...{ host: server.host, port: server.port },
          ...{ db: 3, keyPrefix: 'app:' },
        },
      },
    );
    const redis = await connect(server, { db: 3 });
    await redis.set('app:k1', '1', 'PX', 200);
    await redis.set('k2', '1', 'PX', 100);
    await server.redis.set('app:k3', '1', 'PX', 100);

    expect(await events.one()).toMatchObject({
      ...{ key: 'k1', captures: ['1'], database: 3 },
      id: expect.stringMatching(/^app:k1@\d+$/) as string,
    });
    await eventually(async () => {
      expect(await redis.exists('k2')).toBe(0);
      expect(await server.redis.exists('app:k3')).toBe(0);
      expect(await redis.xlen('app:rx:{presence}:events')).toBe(0);
    });
    expect(events.all).toHaveLength(1);
    expect(await server.redis.keys('*')).toEqual([]);
    const own = await redis.keys('*');
    expect(own.length).toBeGreaterThan(0);
    expect(own.every((key) => key.startsWith('app:rx:{presence}:'))).toBe(true);
    expect(subscriber.status().counters.handled).toBe(1);
  });
});
