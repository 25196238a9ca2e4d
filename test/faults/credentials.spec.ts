import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import {
  type KeyExpiredEvent,
  type NodeStatus,
  RedisExpiryModule,
} from '../../lib/index.js';
import { type TestOptions, createApp, recording } from '../support/app.js';
import { useCluster } from '../support/cluster.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { useSentinel } from '../support/sentinel.js';
import { type TestServer, useServer } from '../support/servers.js';

type Login = Pick<RedisOptions, 'username' | 'password'>;

const FIRST: Login = { username: 'app', password: 'first' };
const MODES: [mode: string, options: TestOptions][] = [
  ['broadcast', { punctual: true }],
  ['a group', { punctual: true, group: 'presence' }],
];

/** Changes the password of the application's user, on servers that know it or do not yet. */
async function setPassword(
  servers: readonly TestServer[],
  password: string,
): Promise<void> {
  for (const { redis } of servers)
    await redis.acl(
      'SETUSER',
      'app',
      ...['on', 'resetpass', `>${password}`, '~*', '&*', '+@all'],
    );
}

/** Closes the connections of the application's user, of one type or all. */
async function killConnections(
  servers: readonly TestServer[],
  type?: 'normal' | 'pubsub',
): Promise<void> {
  for (const { redis } of servers)
    await redis.call(
      'CLIENT',
      'KILL',
      ...['USER', 'app', ...(type ? ['TYPE', type] : [])],
    );
}

/** How often each server refused a login. */
async function refusals(servers: readonly TestServer[]): Promise<number> {
  const counts = servers.map(async ({ redis }) => {
    const log = (await redis.acl('LOG')) as (string | number)[][];
    return log
      .map((entry) => Object.fromEntries(pairs(entry)))
      .filter(({ reason }) => reason === 'auth')
      .reduce((sum, { count }) => sum + Number(count), 0);
  });
  return (await Promise.all(counts)).reduce((a, b) => a + b, 0);
}

const pairs = <T>(list: readonly T[]): [T, T][] =>
  Array.from({ length: list.length / 2 }, (_, i) => [
    list[2 * i]!,
    list[2 * i + 1]!,
  ]);

async function start(connection: TestOptions['connection'], options: object) {
  const events = collect<KeyExpiredEvent>();
  const { subscriber } = await createApp({
    imports: [RedisExpiryModule.forRoot({ ...options, connection })],
    providers: [recording(events, 'k*')],
  });
  await subscriber.ready();
  const nodes = (): readonly NodeStatus[] => {
    const { nodes: own, groups } = subscriber.status();
    return groups[0]?.nodes ?? own;
  };
  const listens = (count = 1): Promise<void> =>
    eventually(() => {
      const states = nodes().map(({ state }) => state);
      expect(states).toEqual(Array(count).fill('listening'));
    });
  /** Lets keys expire, and resolves when each of them was handled once. */
  const handles = async (
    redis: Redis | Cluster,
    name: string,
    count = 25,
  ): Promise<void> => {
    const keys = Array.from({ length: count }, (_, i) => `k:${name}:${i}`);
    for (const key of keys) await redis.set(key, '', 'PX', 50);
    const handled = await events.next(count);
    expect(handled.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    expect(handled.filter(({ attempt }) => attempt !== 1)).toEqual([]);
    expect(events.rest).toEqual([]);
  };
  return { subscriber, nodes, listens, handles };
}

/** What the user gives, and how it is told of new credentials. */
const FORMS: [
  form: string,
  make: (server: TestServer) => {
    connection: TestOptions['connection'];
    tell: (login: Login) => void;
  },
][] = [
  [
    "a client of the user's",
    ({ host, port }) => {
      const client = new Redis({ host, port, ...FIRST, lazyConnect: true });
      return {
        connection: client,
        tell: (login) => Object.assign(client.options, login),
      };
    },
  ],
  [
    'options that are changed',
    ({ host, port }) => {
      const connection = { host, port, ...FIRST };
      return { connection, tell: (login) => Object.assign(connection, login) };
    },
  ],
  [
    'options that say it by a getter',
    ({ host, port }) => {
      let { password } = FIRST;
      const connection = {
        ...{ host, port, username: 'app' },
        get password() {
          return password;
        },
      };
      return { connection, tell: (login) => (password = login.password) };
    },
  ],
  [
    'a function that returns options',
    ({ host, port }) => {
      const login = { ...FIRST };
      return {
        connection: () => ({ host, port, ...login }),
        tell: (changed) => Object.assign(login, changed),
      };
    },
  ],
  [
    'a function that promises a URL',
    ({ host, port }) => {
      let { password } = FIRST;
      return {
        connection: async () => {
          await new Promise((resolve) => setImmediate(resolve));
          return `redis://app:${password}@${host}:${port}`;
        },
        tell: (login) => (password = login.password),
      };
    },
  ],
];

/** Resolves when every connection that there was has been replaced. */
async function replaced(
  servers: readonly TestServer[],
  kill: () => Promise<void>,
): Promise<void> {
  const list = async (): Promise<string[]> => {
    const lists = servers.map(async (server) => {
      const connections = await server.connections();
      return connections.map(({ id }) => `${server.address} ${id}`);
    });
    return (await Promise.all(lists)).flat();
  };
  const before = await list();
  await kill();
  await eventually(async () => {
    const now = await list();
    expect(now.filter((each) => before.includes(each))).toEqual([]);
    expect(now).toHaveLength(before.length);
  });
}

describe.each(MODES)('credentials that are changed, for %s', (_, options) => {
  const server = useServer();

  it.each(FORMS)('are used by the next connection, by %s', async (...row) => {
    await setPassword([server], 'first');
    const { connection, tell } = row[1](server);
    const app = await start(connection, options);
    await app.handles(server.redis, 'before');

    await server.redis.acl('LOG', 'RESET');
    await setPassword([server], 'second');
    tell({ password: 'second' });
    await replaced([server], () => killConnections([server]));
    await app.listens();
    await app.handles(server.redis, 'after');

    // None was tried with the old ones.
    expect(await refusals([server])).toBe(0);
  });

  it('are used as soon as the client knows them, and until then it is not said to be listening', async () => {
    await setPassword([server], 'first');
    const client = new Redis({
      ...{ host: server.host, port: server.port, lazyConnect: true },
      ...{ ...FIRST, retryStrategy: () => 50 },
    });
    const app = await start(client, options);

    await setPassword([server], 'second');
    // Those that listen, and those for commands that block, are of other types or go on.
    await killConnections([server], 'normal');
    // In a group nothing may be left to tell of, as the lease was lost.
    const truth = options.group
      ? /^$|^refused WRONGPASS/
      : /^refused WRONGPASS/;
    await eventually(() => {
      const told = app.nodes().map((node) => `${node.state} ${node.lastError}`);
      expect(told.join()).toMatch(truth);
    });
    client.options.password = 'second';
    await app.listens();
    await app.handles(server.redis, 'after');
    expect(app.nodes()[0]).not.toHaveProperty('lastError');
  });

  it('are tried for as long as they are refused, by the next connection each', async () => {
    await setPassword([server], 'first');
    const client = new Redis({
      ...{ host: server.host, port: server.port, lazyConnect: true },
      ...{ ...FIRST, retryStrategy: () => 50 },
    });
    const app = await start(client, options);

    await setPassword([server], 'second');
    await killConnections([server]);
    await eventually(async () =>
      expect(await refusals([server])).toBeGreaterThan(5),
    );
    client.options.password = 'second';
    await app.listens();
    await app.handles(server.redis, 'after');
  });
});

describe.each(MODES)(
  'credentials of a Cluster that are changed, for %s',
  (...[, options]) => {
    const cluster = useCluster(3);

    it.each<[form: string]>([
      ["a client of the user's"],
      ['options'],
      ['a function'],
    ])('are used by the next connection, by %s', async (form) => {
      const { servers } = cluster;
      await setPassword(servers, 'first');
      const redisOptions = { ...FIRST };
      const nodes = cluster.nodes;
      const client = new Cluster(nodes, { redisOptions, lazyConnect: true });
      const redis = await cluster.connect();
      const app = await start(
        form === 'options'
          ? { nodes, options: { redisOptions } }
          : form === 'a function'
            ? () =>
                Promise.resolve({
                  nodes,
                  options: { redisOptions: { ...redisOptions } },
                })
            : client,
        options,
      );
      await app.handles(redis, 'before');

      for (const server of servers) await server.redis.acl('LOG', 'RESET');
      await setPassword(servers, 'second');
      redisOptions.password = 'second';
      client.options.redisOptions!.password = 'second';
      await replaced(servers, () => killConnections(servers));
      await app.listens(3);
      await app.handles(redis, 'after');

      expect(await refusals(servers)).toBe(0);
    });
  },
);

describe('credentials of Sentinels that are changed', () => {
  const sentinel = useSentinel({ path: inject('redisServerPath') });

  it.each([["a client of the user's"], ['a function']])(
    'are used by the next connection, by %s',
    async (form) => {
      const { sentinelServers, sentinels, name } = sentinel;
      await setPassword(sentinelServers, 'first');
      const client = new Redis({
        ...{ sentinels, name, lazyConnect: true },
        ...{ sentinelUsername: 'app', sentinelPassword: 'first' },
      });
      onTestFinished(() => client.disconnect());
      const { options } = client;
      const told = (): RedisOptions => ({
        ...{ sentinels, name, sentinelUsername: 'app' },
        ...{ sentinelPassword: options.sentinelPassword! },
      });
      const app = await start(
        form === 'a function' ? () => Promise.resolve(told()) : client,
        { punctual: true },
      );
      const asked = async (): Promise<number[]> => {
        const lists = sentinelServers.map(async ({ redis }) => {
          const list = (await redis.client('LIST')) as string;
          return list.split('\n').filter((line) => line.includes('user=app'))
            .length;
        });
        return Promise.all(lists);
      };
      await eventually(async () => expect(await asked()).toEqual([1, 1, 1]));

      await setPassword(sentinelServers, 'second');
      client.options.sentinelPassword = 'second';
      await killConnections(sentinelServers);
      await eventually(async () => expect(await asked()).toEqual([1, 1, 1]));
      const primary = await sentinel.primary();
      await replaced([primary], async () => {
        await primary.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await primary.redis.call(
          'CLIENT',
          'KILL',
          'TYPE',
          'normal',
          'SKIPME',
          'yes',
        );
      });
      await app.listens();
      await app.handles(primary.redis, 'after');
      expect(await refusals(sentinelServers)).toBe(0);
    },
  );
});
