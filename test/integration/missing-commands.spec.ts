import { Redis, type RedisOptions } from 'ioredis';
import { describe, expect, inject, it } from 'vitest';
import {
  type KeyExpiredEvent,
  type RedisExpiryError,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { type TestApp, compileApp } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { handler } from '../support/group/app.js';
import { names } from '../support/group/history.js';
import { paced } from '../support/paced.js';
import { RedisServer } from '../support/redis/redis-server.mjs';

/**
 * What becomes of a module on a server without a command: it works, or its start is refused with a
 * code, by an error that names the command.
 */
type Outcome =
  'works' | 'CONNECT_FAILED' | 'GROUP_REFUSED' | 'SUBSCRIPTION_REFUSED';

/** Commands that both modes use, and what becomes of broadcast and of a group without them. */
const BOTH: Record<string, readonly [broadcast: Outcome, group: Outcome]> = {
  // To connect, to listen, and to see to it that there is something to hear.
  INFO: ['CONNECT_FAILED', 'GROUP_REFUSED'],
  CLIENT: ['works', 'works'],
  PING: ['works', 'works'],
  PSUBSCRIBE: ['SUBSCRIPTION_REFUSED', 'works'],
  SUBSCRIBE: ['works', 'works'],
  PUNSUBSCRIBE: ['works', 'works'],
  UNSUBSCRIBE: ['works', 'works'],
  CONFIG: ['works', 'works'],
  // For the self-test.
  SET: ['works', 'GROUP_REFUSED'],
  DEL: ['works', 'GROUP_REFUSED'],
  PEXPIRE: ['works', 'GROUP_REFUSED'],
  RPUSH: ['works', 'works'],
  MULTI: ['works', 'works'],
  EXEC: ['works', 'works'],
  // To know deadlines, and to look.
  EXISTS: ['works', 'works'],
  SCAN: ['works', 'GROUP_REFUSED'],
  PEXPIRETIME: ['works', 'works'],
  PTTL: ['works', 'GROUP_REFUSED'],
  TIME: ['works', 'GROUP_REFUSED'],
  DBSIZE: ['works', 'GROUP_REFUSED'],
  EVAL: ['works', 'GROUP_REFUSED'],
  EVALSHA: ['works', 'GROUP_REFUSED'],
};

/** What only a group uses: each is refused. */
const GROUP = [
  [
    'GET',
    'HSET',
    'HMGET',
    'HDEL',
    'ZADD',
    'ZREM',
    'ZCARD',
    'ZRANGE',
    'ZRANGEBYSCORE',
  ],
  ['ZREMRANGEBYSCORE', 'ZSCAN', 'ZMSCORE', 'XADD', 'XDEL', 'XLEN', 'XRANGE'],
  ['XGROUP', 'XREADGROUP', 'XACK', 'XPENDING', 'XCLAIM', 'XAUTOCLAIM', 'XINFO'],
].flat();

const BROADCAST_OUTCOMES = Object.fromEntries(
  Object.entries(BOTH).map(([command, [outcome]]) => [command, outcome]),
);
const GROUP_OUTCOMES = Object.fromEntries([
  ...Object.entries(BOTH).map(([command, [, outcome]]) => [command, outcome]),
  ...GROUP.map((command) => [command, 'GROUP_REFUSED']),
]) as Record<string, Outcome>;

/** A server without some commands, an application for it, and a client that needs none of those in the tables. */
interface Scene extends TestApp {
  readonly events: Collector<KeyExpiredEvent>;
  readonly setFor: (key: string, ms: number) => Promise<unknown>;
}

type Options = Omit<RedisExpiryModuleOptions, 'connection'> & {
  connection?: RedisOptions;
};

async function without(
  commands: readonly string[],
  { connection, ...options }: Options,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  const server = await RedisServer.start({
    path: inject('redisServerPath'),
    args: [
      ...['--hz', '500'],
      ...commands.flatMap((command) => ['--rename-command', command, '']),
      // Nobody can switch them on.
      ...(commands.includes('CONFIG')
        ? ['--notify-keyspace-events', 'KExng']
        : []),
    ],
  });
  const redis = new Redis(server.url, { enableReadyCheck: false });
  const events = collect<KeyExpiredEvent>();
  const app = await compileApp({
    imports: [
      RedisExpiryModule.forRoot({
        // To wait for it would take longer than any test may.
        connection: {
          port: server.port,
          connectTimeout: 3_600_000,
          ...connection,
        },
        punctual: { scanInterval: 1_000 },
        shutdownTimeout: 3_000,
        ...options,
      }),
    ],
    providers: [handler('device:*', events.add)],
  });
  try {
    await work({ ...app, events, setFor: (k, ms) => redis.psetex(k, ms, '1') });
  } finally {
    await app.close();
    redis.disconnect();
    await server.stop();
  }
}

/** Starts an application on a server without a command, and has a key run out there. */
async function outcomeWithout(
  command: string,
  options: Options,
): Promise<unknown> {
  let outcome: unknown;
  await without([command], options, async (scene) => {
    const { app, subscriber, events, setFor } = scene;
    try {
      await app.init();
      await subscriber.ready();
      // Where a scan has to find it, that is within a second.
      const isScanned = command === 'PSUBSCRIBE';
      await setFor('device:1', isScanned ? 1_500 : 100);
      await events.one();
      outcome = 'works';
    } catch (error) {
      const { code, message } = error as RedisExpiryError;
      const isNamed = new RegExp(`\\b${command}\\b`, 'i').test(message);
      outcome = isNamed ? code : error;
    }
  });
  return outcome;
}

describe.each([
  ['broadcast', BROADCAST_OUTCOMES, {}],
  ['a group', GROUP_OUTCOMES, { group: 'presence' }],
])('%s on a server without a command', (_, expected, options) => {
  it('works, or is refused at once by an error that names the command', async () => {
    const outcomes: Record<string, unknown> = {};
    const left = Object.keys(expected);
    const work = async (): Promise<void> => {
      for (let command = left.shift(); command; command = left.shift())
        outcomes[command] = await outcomeWithout(command, options);
    };
    await Promise.all(Array.from({ length: 8 }, work));

    expect(outcomes).toEqual(expected);
  });
});

it('a group without PSUBSCRIBE handles what a scan saw', async () => {
  const keys = names('device:', 50);
  await without(['PSUBSCRIBE'], { group: 'presence' }, async (scene) => {
    const { app, subscriber, events, logs, setFor } = scene;
    await Promise.all(keys.map((key) => setFor(key, paced(2_000))));
    await app.init();
    await subscriber.ready();

    expect(subscriber.status().groups).toMatchObject([
      { leads: true, nodes: [{ state: 'deaf', learning: 'scan' }] },
    ]);
    const handled = await events.next(keys.length);
    expect(handled.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    for (const { attempt, deadline } of handled) {
      expect(attempt).toBe(1);
      expect(deadline).toBeInstanceOf(Date);
    }
    expect(logs.texts('warn', 'has no PSUBSCRIBE')).toHaveLength(1);
    expect(logs.texts('error')).toEqual([]);
  });
});

it.each([
  ['EXISTS', 'handlers may run for keys that are alive'],
  ['SCAN', 'does not let the module learn deadlines'],
])('warns once where broadcast works worse: %s', async (command, warning) => {
  await without([command], {}, async (scene) => {
    const { app, subscriber, events, logs, setFor } = scene;
    await app.init();
    await subscriber.ready();
    for (const key of names('device:', 3)) {
      await setFor(key, 50);
      await events.one();
    }

    expect(logs.texts('warn')).toEqual([expect.stringContaining(warning)]);
    expect(
      logs.texts('warn', `unknown command '${command.toLowerCase()}'`),
    ).toHaveLength(1);
  });
});

it.each([
  [
    'that has no command CLUSTER',
    ['--rename-command', 'CLUSTER', ''],
    'cluster',
  ],
  ['that is no node of one', [], 'cluster support disabled'],
])('a Cluster is refused at once by a server %s', async (_, args, named) => {
  const path = inject('redisServerPath');
  const server = await RedisServer.start({ path, args });
  for (const options of [{}, { group: 'presence' }]) {
    const nodes = [{ host: '127.0.0.1', port: server.port }];
    const redisOptions = { connectTimeout: 3_600_000 };
    const { app, close } = await compileApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { nodes, options: { redisOptions } },
          ...options,
        }),
      ],
      providers: [handler('device:*', () => undefined)],
    });
    await expect(app.init()).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining(named) as string,
    });
    await close();
  }
  await server.stop();
});

it('does without INFO where the connection makes no ready check', async () => {
  const connection = { enableReadyCheck: false };
  for (const options of [{}, { group: 'presence' }])
    await without(['INFO'], { connection, ...options }, async (scene) => {
      const { app, events, setFor } = scene;
      await app.init();
      await setFor('device:1', 100);
      expect((await events.one()).key).toBe('device:1');
    });
});
