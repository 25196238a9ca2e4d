import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent, RedisExpiryStatus } from '../../../lib/index.js';
import { RedisExpiryModule } from '../../../lib/index.js';
import { compileApp } from '../../support/app.js';
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
import { TestServer, useServer } from '../../support/servers.js';

const nothing = handler('k', () => undefined);

describe('a group on a server that cannot carry it', () => {
  const server = useServer();

  it('refuses to start on a replica', async () => {
    const replica = await new TestServer({
      args: ['--replicaof', `${server.host} ${server.port}`],
    }).start();
    try {
      await expect(
        groupApp(replica, [nothing], { group: 'presence' }),
      ).rejects.toMatchObject({
        code: 'GROUP_REFUSED',
        message: expect.stringMatching(/"presence".*replica/) as string,
      });
    } finally {
      await replica.stop();
    }
  });

  it.for([
    ['no writing at all', ['~*', '&*', '+@all', '-@write']],
    ['no scripts', ['~*', '&*', '+@all', '-eval']],
    ['no keys of its own', ['~k*', '&*', '+@all']],
  ] as const)('refuses to start where the ACL allows %s', async ([, rules]) => {
    await server.redis.acl('SETUSER', 'limited', 'on', '>secret', ...rules);
    const connection = `redis://limited:secret@${server.host}:${server.port}`;
    await expect(
      groupApp(server, [nothing], { connection }),
    ).rejects.toMatchObject({
      code: 'GROUP_REFUSED',
      message: expect.stringContaining('presence') as string,
    });
  });

  it.for([
    ['min-replicas-to-write', 'NOREPLICAS'],
    ['maxmemory', 'OOM'],
  ] as const)(
    'refuses to start while writes are refused, by %s',
    async ([name, code]) => {
      await server.redis.config('SET', name, '1');
      const starting = groupApp(server, [nothing], { group: 'presence' });
      await expect(starting).rejects.toMatchObject({
        code: 'GROUP_REFUSED',
        message: expect.stringMatching(
          `refuses writes for now.*${code}`,
        ) as string,
      });
      await server.redis.config('SET', name, '0');
    },
  );

  it('works where INFO and CONFIG are forbidden', async () => {
    const rules = ['~*', '&*', '+@all', '-info', '-config'];
    await server.redis.acl('SETUSER', 'limited', 'on', '>secret', ...rules);
    await server.setFlags('KEA');
    const connection = `redis://limited:secret@${server.host}:${server.port}`;
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k', events.add)], { connection });
    await server.expire('k');

    expect((await events.one()).key).toBe('k');
  });

  it('hands over keys that it may look at, though a pattern matches others too', async () => {
    const rules = ['~own:*', '~rx:*', '&*', '+@all'];
    await server.redis.acl('SETUSER', 'limited', 'on', '>secret', ...rules);
    const connection = `redis://limited:secret@${server.host}:${server.port}`;
    const events = collect<string>();
    await groupApp(server, [handler('*', ({ key }) => events.add(key))], {
      connection,
    });
    // Something happens to one that it may not look at.
    await server.redis.set('others', '1', 'EX', 60);
    await server.redis.del('others');

    for (const key of names('own:', 5))
      await server.redis.set(key, '', 'PX', 200);

    expect((await events.next(5)).toSorted()).toEqual(names('own:', 5));
  });

  it('refuses punctual: false, for the module and for a handler', async () => {
    expect(() =>
      RedisExpiryModule.forRoot({ group: 'g', punctual: false }),
    ).not.toThrow();
    const module = async (
      options: object,
      handlerOptions: object,
    ): Promise<unknown> => {
      const { app } = await compileApp({
        imports: [
          RedisExpiryModule.forRoot({
            ...{ connection: server.url, punctual: false },
            ...options,
          }),
        ],
        providers: [handler('k', () => undefined, handlerOptions)],
      });
      return app.init();
    };
    await expect(module({ group: 'g' }, {})).rejects.toMatchObject({
      code: 'INVALID_OPTION_PUNCTUAL',
    });
    await expect(module({}, { group: 'g' })).rejects.toMatchObject({
      code: 'GROUP_REFUSED',
    });
  });
});

describe('a group on a server that may evict its keys', () => {
  const server = useServer({ args: ['--maxmemory-policy', 'allkeys-lru'] });

  it('warns, and works', async () => {
    const events = collect<KeyExpiredEvent>();
    const { logs } = await groupApp(server, [handler('k', events.add)]);
    await server.expire('k');

    expect((await events.one()).key).toBe('k');
    expect(logs.texts('warn', 'allkeys-lru')).toHaveLength(1);
  });
});

describe('what a group tells of itself', () => {
  const server = useServer();

  it('says who leads, what is listened to, and what there is to do', async () => {
    const a = await groupApp(server, [nothing]);
    const b = await groupApp(server, [nothing]);
    await server.redis.set('k', '1', 'PX', 60_000);
    await server.redis.zadd('rx:{presence}:retry', Date.now() + 60_000, '{}');
    await eventually(() =>
      expect(b.subscriber.status().groups).toMatchObject([
        {
          ...{ group: 'presence', leads: false, nodes: [] },
          ...{ waiting: 0, pending: 0, retrying: 1, dead: 0, tracked: 1 },
        },
      ]),
    );
    const status: RedisExpiryStatus = a.subscriber.status();
    expect(status.groups).toMatchObject([{ group: 'presence', leads: true }]);
    expect(status.groups[0]!.nodes).toMatchObject([
      { address: server.address, state: 'listening', patterns: ['k'] },
    ]);
    expect(status.nodes).toEqual([]);

    await a.close();
    await eventually(() =>
      expect(b.subscriber.status().groups[0]!.leads).toBe(true),
    );
  });
});

describe('a group whose application shuts down', () => {
  const server = useServer();

  it('does so at once when it is idle', async () => {
    // A test that waited for it would not end.
    const { close } = await groupApp(server, [nothing], {
      shutdownTimeout: 3_600_000,
    });
    await close();

    expect(await server.redis.exists('rx:{presence}:lease')).toBe(0);
  });

  it('waits for its handlers, and acknowledges what they did', async () => {
    const events = collect<KeyExpiredEvent>();
    const done = collect<string>();
    const app = await groupApp(server, [
      handler('k*', async (event) => {
        events.add(event);
        await new Promise((resolve) => setTimeout(resolve, 300));
        done.add(event.key);
      }),
    ]);
    await server.expire(...names('k', 10));
    await events.next(10);
    await app.close();

    expect(done.all).toHaveLength(10);
    expect(await groupState(server)).toMatchObject({ events: 0 });
  });

  it('leaves to the others what it could not begin or end in time', async () => {
    const first = collect<KeyExpiredEvent>();
    const stuck = await groupApp(
      server,
      [
        handler('k*', (event) => {
          first.add(event);
          return new Promise(() => undefined);
        }),
      ],
      { concurrency: 2, shutdownTimeout: 200, leaseDuration: 500 },
    );
    await server.expire(...names('k', 6));
    await first.next(2);
    await eventually(async () => {
      expect((await groupState(server))['events']).toBe(6);
    });
    await stuck.close();
    const second = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', second.add)], {
      leaseDuration: 500,
    });
    await second.next(6);
    await groupIsDone(server);

    expect(second.all.map(({ key }) => key).toSorted()).toEqual(names('k', 6));
    const begun = new Set(first.all.map(({ id }) => id));
    for (const { id, attempt } of second.all)
      expect(attempt).toBe(begun.has(id) ? 2 : 1);
  });

  it('does so in time though the server is away', async () => {
    const own = await new TestServer().start();
    const { close } = await groupApp(own, [nothing]);
    await own.stop();
    const began = performance.now();
    await close();

    expect(performance.now() - began).toBeLessThan(paced(8_000));
  });
});
