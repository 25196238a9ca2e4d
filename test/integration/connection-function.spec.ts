import { describe, expect, it, vi } from 'vitest';
import type {
  KeyExpiredEvent,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  expectNoConnections,
  recording,
  redisExpiry,
} from '../support/app.js';
import { useCluster } from '../support/cluster.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { PATIENCE_MS } from '../support/patience.js';
import { TestServer, expire, useServer } from '../support/servers.js';

const server = useServer();
const other = useServer();

const MODES: [mode: string, options: TestOptions][] = [
  ['broadcast', {}],
  ['a group', { group: 'presence', punctual: true }],
];

async function listen(
  connection: TestOptions['connection'],
  options: TestOptions = {},
) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [redisExpiry(server, { ...options, connection })],
    providers: [recording(events, 'device:*')],
  });
  return { ...app, events, subscriber: app.subscriber };
}

/** Closes all connections of the module; what it opens next asks anew. */
async function killAll({ redis }: TestServer): Promise<void> {
  for (const type of ['normal', 'pubsub'])
    await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
}

/** Closes all connections; resolves when as many others lead to the server that is asked for now, and it is listened to. */
async function replaced(
  subscriber: RedisExpirySubscriber,
  from: TestServer,
  to = from,
): Promise<void> {
  const before = (await from.connections()).map(({ id }) => id);
  await killAll(from);
  await eventually(async () => {
    const left = (await from.connections()).map(({ id }) => id);
    expect(left.filter((id) => before.includes(id))).toEqual([]);
    expect(await to.connections()).toHaveLength(before.length);
    expect(nodesOf(subscriber)).toMatchObject([{ state: 'listening' }]);
  });
}

const nodesOf = (subscriber: RedisExpirySubscriber) => {
  const { nodes, groups } = subscriber.status();
  return groups[0]?.nodes ?? nodes;
};

const never = new Promise<never>(() => undefined);

describe.each(MODES)('a function as the connection, for %s', (_, options) => {
  it('is asked once for each connection', async () => {
    let asked = 0;
    const { subscriber, close } = await listen(() => {
      asked++;
      return server.url;
    }, options);
    await subscriber.ready();

    const connections = await server.connections();
    expect(asked).toBe(connections.length);
    await close();
  });

  it('may throw for a while at start', async () => {
    let asked = 0;
    const { events, logs } = await listen(async () => {
      if (++asked < 4) throw new Error('no token for redis://app:s3cret@h');
      return server.url;
    }, options);

    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
    expect(logs.texts('warn', 'the function that is')).toEqual([
      'Redis is not reached yet, and is tried again; no expiry is handled until then: ' +
        'the function that is the option "connection" failed: no token for redis://app:***@h',
    ]);
    expect(logs.everything).not.toContain('s3cret');
  });

  it.each<[what: string, answer: () => unknown, said: RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no token for redis://app:s3cret@h');
      },
      /failed: no token for redis:\/\/app:\*\*\*@h/,
    ],
    ['never answers', () => never, /has not answered within 1500 ms/],
    [
      'names another database',
      () => `${server.url}/3`,
      /returned database 3 after 0/,
    ],
    ['returns nonsense', () => 's3cret', /returned another text; accepted/],
  ])(
    'that %s later is asked again, and status() says why it does not listen',
    async (...[, answer, said]) => {
      let ask = answer;
      const good = () => ({
        ...{ host: server.host, port: server.port, connectTimeout: 1_500 },
        retryStrategy: () => 50,
      });
      ask = good;
      const { events, subscriber, logs } = await listen(
        (() => ask()) as TestOptions['connection'],
        options,
      );
      await subscriber.ready();

      ask = answer;
      await killAll(server);
      await eventually(() => {
        const told = [subscriber.status(), logs.everything];
        expect(JSON.stringify(told)).toMatch(said);
      });
      ask = good;
      await subscriber.ready();
      await eventually(() =>
        expect(nodesOf(subscriber)).toMatchObject([{ state: 'listening' }]),
      );
      await server.expire('device:42');

      expect((await events.one()).key).toBe('device:42');
      expect(nodesOf(subscriber)[0]).not.toHaveProperty('lastError');
      expect(JSON.stringify(subscriber.status())).not.toContain('s3cret');
      expect(logs.everything).not.toContain('s3cret');
    },
  );

  it('may lead to another host', async () => {
    let { url } = server;
    const { events, subscriber } = await listen(() => url, options);
    await subscriber.ready();

    url = other.url;
    await replaced(subscriber, server, other);
    // Another server holds nothing of the group: somebody has to lead it anew there.
    if (options.group)
      await vi.waitUntil(() => other.redis.exists('rx:{presence}:lease'), {
        timeout: PATIENCE_MS,
      });
    await subscriber.ready();
    await other.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it('may rotate the password of the server', async () => {
    let password = 'first';
    const secured = await new TestServer({
      args: ['--requirepass', 'first'],
      login: { password: 'first' },
    }).start();
    const app = await listen(
      () => Promise.resolve({ port: secured.port, password }),
      options,
    );
    await app.subscriber.ready();

    await secured.redis.config('SET', 'requirepass', 'second');
    password = 'second';
    await replaced(app.subscriber, secured);
    await secured.expire('device:42');

    expect((await app.events.one()).key).toBe('device:42');
    expect(app.logs.everything).not.toMatch(/WRONGPASS/);
    await app.close();
    await secured.stop();
  });
});

describe('a function as the connection', () => {
  it.each<[what: string, answer: unknown, code: string, said: RegExp]>([
    ['nothing', undefined, '', /returned undefined; accepted: a URL/],
    ['a bad port', { port: -1 }, '_PORT', /"connection.port" is -1/],
  ])(
    'that returns %s fails the start at once',
    async (_, answer, code, said) => {
      const starting = listen((() => answer) as TestOptions['connection']);

      await expect(starting).rejects.toMatchObject({
        code: `INVALID_OPTION_CONNECTION${code}`,
        message: expect.stringMatching(said),
      });
      await expect(expectNoConnections()).resolves.toBeUndefined();
    },
  );

  it('may say lazyConnect: then start-up does not wait for Redis', async () => {
    const { subscriber } = await listen(() => ({ port: 1, lazyConnect: true }));

    expect(subscriber.status().nodes).toMatchObject([{ state: 'connecting' }]);
  });

  it('is not asked with enabled: false, until something is subscribed to', async () => {
    let asked = 0;
    const { subscriber } = await listen(
      () => {
        asked++;
        return server.url;
      },
      { enabled: false, group: 'presence', punctual: true },
    );
    await subscriber.ready();
    expect(asked).toBe(0);
    expect(subscriber.status()).toMatchObject({ nodes: [], groups: [] });

    const events = collect<KeyExpiredEvent>();
    await subscriber.subscribe('device:*', events.add);
    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it('that is asked while the application closes keeps nothing open', async () => {
    const { subscriber, close } = await listen(() => never, { enabled: false });
    const subscribing = subscriber.subscribe('device:*', () => undefined);
    const outcome = subscribing.catch((error: unknown) => error);
    await close();

    expect(await outcome).toMatchObject({ code: 'CLOSED' });
  });
});

describe('a function that names a Cluster', () => {
  const cluster = useCluster(3);

  it('may throw for a while, at start and later, and name other nodes', async () => {
    const redis = await cluster.connect();
    let broken = 3;
    let asked = 0;
    const { subscriber, events, logs } = await listen(() => {
      if (++asked > 1 && broken-- > 0) throw new Error('no token');
      // At first, one that answers nobody.
      const nodes =
        asked === 1 ? [{ host: '127.0.0.1', port: 1 }] : cluster.nodes;
      return { nodes, options: { clusterRetryStrategy: () => 50 } };
    });
    const states = () => nodesOf(subscriber).map(({ state }) => state);
    await subscriber.ready();
    await expire(redis, 'device:1');
    expect((await events.one()).key).toBe('device:1');

    broken = 30;
    for (const each of cluster.servers) await killAll(each);
    await eventually(() =>
      expect(JSON.stringify([subscriber.status(), logs.everything])).toMatch(
        /failed: no token/,
      ),
    );
    await eventually(() => {
      expect(broken).toBeLessThanOrEqual(0);
      expect(states()).toEqual(Array(3).fill('listening'));
    });
    await expire(redis, 'device:2');

    expect((await events.one()).key).toBe('device:2');
  });
});
