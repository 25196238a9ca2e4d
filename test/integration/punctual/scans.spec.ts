import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { type TestApp, createApp } from '../../support/app.js';
import { handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';
import { Scene, names, until } from '../../support/punctual/scene.js';
import { type TestServer, useServer } from '../../support/servers.js';

const HOUR = 3_600_000;

/** Which of some keys a group knows the deadline of. */
async function knownTo(
  admin: Redis,
  group: string,
  keys: readonly string[],
): Promise<number> {
  const scores = await admin.zmscore(`rx:{${group}}:index`, ...keys);
  return scores.filter((score) => score !== null).length;
}

// Redis does not look for expired keys in any of these, and no scan comes by itself within 10 minutes.
describe.concurrent('a pattern that is subscribed to again', () => {
  it('is scanned, and ready() waits for that', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ pattern: 'other' });
    const first = await app.subscriber.subscribe('k:*', () => undefined);
    await app.subscriber.ready();
    await first.unsubscribe();
    const deadlines = await scene.give(names(300), (i) => paced(4_000) + i);
    const heard: KeyExpiredEvent[] = [];
    await app.subscriber.subscribe('k:*', (event) => heard.push(event));
    await app.subscriber.ready();

    expect(app.tracked).toBe(300);
    await until(
      () => heard.length === 300,
      () => `${heard.length} of 300 were heard`,
    );
    expect(new Map(heard.map((e) => [e.key, e.deadline!.getTime()]))).toEqual(
      deadlines,
    );
  });

  it('by expirations() too, for each first subscriber of it', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ pattern: 'other' });
    const expirations = app.subscriber.expirations('k:*');
    for (let round = 1; round <= 3; round++) {
      const keys = names(200, `k:${round}`);
      await scene.give(keys, HOUR);
      const subscription = expirations.subscribe();
      // It was not waited for: ready() does.
      await app.subscriber.ready();
      expect(app.tracked).toBe(round * 200);
      subscription.unsubscribe();
      await until(
        () => !app.app.node.patterns.includes('k:*'),
        () => 'it is still subscribed to',
      );
    }
  });

  it('in a group too', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ pattern: 'other', group: 'g' });
    const first = await app.subscriber.subscribe('k:*', () => undefined);
    await app.subscriber.ready();
    await first.unsubscribe();
    const keys = names(300);
    const deadlines = await scene.give(keys, (i) => paced(4_000) + i);
    const heard = new Map<string, number>();
    await app.subscriber.subscribe(
      'k:*',
      ({ key, deadline }) => void heard.set(key, deadline!.getTime()),
    );
    await app.subscriber.ready();

    expect(await knownTo(scene.admin, 'g', keys)).toBe(300);
    await until(
      () => heard.size === 300,
      () => `${heard.size} of 300 were heard`,
    );
    expect(heard).toEqual(deadlines);
  });
});

it('status() tells of each node of a group how many keys it tracks, as they come and go', async (context) => {
  const scene = await Scene.open(context);
  const app = await scene.readyApp({ pattern: 'k:*', group: 'g' });
  const tracks = (count: number): Promise<void> => {
    const nodes = () => app.app.status.groups[0]!.nodes;
    return until(
      () => nodes().length === 1 && nodes()[0]!.tracked === count,
      () => `${JSON.stringify(nodes())}, and not ${count}`,
    );
  };
  await tracks(0);
  await scene.give(names(50), HOUR);
  await tracks(50);
  expect(await scene.admin.del(...names(20))).toBe(20);
  await tracks(30);
});

describe('a scan', () => {
  const server = useServer();

  /** An application with a handler for each pattern, after its first scan, and how often it called SCAN. */
  async function scanFor(
    patterns: readonly string[],
    options: RedisExpiryModuleOptions = {},
  ): Promise<{ app: TestApp; scans: number }> {
    const before = (await server.commandCalls())['scan'] ?? 0;
    const app = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: server.url,
          punctual: { scanCount: 100 },
          ...options,
        }),
      ],
      providers: patterns.map((pattern, i) =>
        handler(pattern, () => undefined, {}, `Handler${i}`),
      ),
    });
    await app.subscriber.ready();
    const after = (await server.commandCalls())['scan'] ?? 0;
    return { app, scans: after - before };
  }

  const tracked = ({ subscriber }: TestApp): number =>
    subscriber.status().nodes[0]!.tracked!;

  it('costs no more calls for fifty patterns than for one', async () => {
    const prefixes = names(50, 'p');
    for (const prefix of prefixes)
      await setAll(server, names(40, `${prefix}:x`));
    await setAll(server, names(500, 'other'));

    const one = await scanFor(['p:*']);
    expect(tracked(one.app)).toBe(2_000);
    await one.app.close();
    const many = await scanFor(prefixes.map((prefix) => `${prefix}:*`));
    expect(tracked(many.app)).toBe(2_000);

    expect(one.scans).toBeGreaterThan(20);
    expect(many.scans).toBeLessThan(2 * one.scans);
  });

  it('is not made for keys that are called by their names', async () => {
    await setAll(server, [...names(1_200, 'k'), 'a*b']);
    const { app, scans } = await scanFor([...names(1_100, 'k'), 'a\\*b']);

    expect(tracked(app)).toBe(1_101);
    expect(scans).toBe(0);
  });

  /** Patterns of every shape. */
  const MIXED = [
    ...['device:*', 'dev*:on', '*:lock', 'x:?', 'y:[1-3]*', 'm:*:n:*'],
    ...[
      'ab*ba',
      'name',
      'lit\\*eral',
      'device:1*',
      'gr\u00fc\u00df:*',
      'gr\u00f6\u00df:*',
    ],
  ];
  const KEYS = [
    ...['device:', 'device:1', 'dev:on', 'dev::on', 'devon', 'dev', 'de:on'],
    ...['a:lock', ':lock', 'lock', 'x:1', 'x:', 'x:12', 'y:1', 'y:34', 'y:4'],
    ...['m::n:', 'm:1:n:2', 'm:n:', 'aba', 'abba', 'abxba', 'name', 'names'],
    ...[
      'lit*eral',
      'literal',
      'gr\u00fc\u00df:1',
      'gr\u00f6\u00df:1',
      'gr\u00e4\u00df:1',
    ],
  ];

  it.for([
    ['', []],
    ['app[*]:', []],
    ['', ['scripts are forbidden', '-evalsha', '-eval']],
  ] as const)(
    'enrols what Redis says to match, and nothing else (prefix %o, %o)',
    async ([keyPrefix, [, ...rules]]) => {
      const { redis } = server;
      const all = [...KEYS.map((key) => keyPrefix + key), ...names(300, 'z')];
      await setAll(server, all);
      await redis.set(`${keyPrefix}device:for ever`, '');
      const quoted = keyPrefix.replace(/[[*]/g, '\\$&');
      const matching = await Promise.all(
        MIXED.map((pattern) => redis.keys(quoted + pattern)),
      );
      await redis.acl('SETUSER', 'user', 'on', '>pw', 'allkeys', '&*', '+@all');
      if (rules.length > 0) await redis.acl('SETUSER', 'user', ...rules);
      const { app, scans } = await scanFor(MIXED, {
        connection: {
          ...{ host: server.host, port: server.port, keyPrefix },
          ...{ username: 'user', password: 'pw' },
        },
      });

      const expected = new Set(matching.flat());
      expected.delete(`${keyPrefix}device:for ever`);
      expect(tracked(app)).toBe(expected.size);
      expect(scans).toBeLessThan(10);
      for (const key of expected) await redis.pexpire(key, 1);
      await until(
        () => tracked(app) === 0,
        () => `${tracked(app)} are still tracked`,
      );
    },
  );

  it('looks at no key that the user may not read, as long as no pattern names it', async () => {
    await setAll(server, [
      ...[...names(100, 'a'), ...names(100, 'b'), ...names(100, 'c')],
    ]);
    const { redis } = server;
    const commands = ['+@all', '-@dangerous', '+config', '+info'];
    const keys = ['~a:*', '~b:[1-3]*', '~rx:*'];
    await redis.acl('SETUSER', 'user', 'on', '>pw', '&*', ...commands, ...keys);
    const { app } = await scanFor(['a:*', 'b:[1-3]*'], {
      connection: `redis://user:pw@127.0.0.1:${server.port}`,
    });

    // 1 to 3, 10 to 39.
    expect(tracked(app)).toBe(100 + 33);
    expect(app.logs.texts('warn')).toEqual([]);
  });
});

/** Keys that live for an hour. */
async function setAll(
  { redis }: TestServer,
  keys: readonly string[],
): Promise<void> {
  const pipeline = redis.pipeline();
  for (const key of keys) pipeline.set(key, '', 'PX', HOUR);
  await pipeline.exec();
}
