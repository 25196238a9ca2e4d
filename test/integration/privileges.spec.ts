import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PROBE } from '../../lib/scripts/probe.lua.js';
import {
  type KeyExpiredEvent,
  type OnKeyExpiredOptions,
  RedisExpiryKeys,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../support/group/app.js';
import { paced } from '../support/paced.js';
import { TestServer } from '../support/servers.js';
import { certificateFiles } from '../support/tls.js';

const page = new URL(
  '../../docs/07-redis-settings-and-acl.md',
  import.meta.url,
);

/** The rules that the documentation lists. */
async function rulesOf(mode: string): Promise<string[]> {
  const text = await readFile(page, 'utf8');
  const block = new RegExp(
    `<!-- acl: ${mode} -->\\s*\`\`\`\\n(.*?)\`\`\``,
    's',
  ).exec(text);
  return block![1]!.trim().split(/\s+/);
}

/** More than a busy machine may be late. */
const VALUES = { lead: 500 };

let certificate: Awaited<ReturnType<typeof certificateFiles>>;
let server: TestServer;
let ca: string;

beforeAll(async () => {
  certificate = await certificateFiles();
  ca = await readFile(certificate.cert, 'utf8');
  const { cert, key } = certificate;
  server = await new TestServer({
    args: [
      ...['--tls-cert-file', cert, '--tls-key-file', key],
      ...['--tls-ca-cert-file', cert, '--tls-auth-clients', 'no'],
    ],
  }).start();
});
beforeEach(() => server.reset());
afterAll(async () => {
  await server.stop();
  await certificate.remove();
});

async function start(
  rules: string[],
  module: RedisExpiryModuleOptions,
  work: (event: KeyExpiredEvent) => unknown,
  options: OnKeyExpiredOptions = {},
) {
  const { redis } = server;
  const port = server.port + 1;
  await redis.config('SET', 'tls-port', port);
  await redis.acl('SETUSER', 'app', 'reset', 'on', '>pw', ...rules);
  await redis.acl('LOG', 'RESET');
  await redis.config('RESETSTAT');
  return createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: {
          host: 'localhost',
          port,
          username: 'app',
          password: 'pw',
          tls: { ca },
        },
        ...module,
      }),
    ],
    providers: [handler('device:*', work, options)],
  });
}

/** What the ACL refused: commands, keys and channels. */
async function refused(): Promise<string[]> {
  const log = (await server.redis.acl('LOG')) as unknown[][];
  return log
    .map((entry) => {
      const of = (name: string) => entry[entry.indexOf(name) + 1];
      return `${String(of('reason'))} ${String(of('object'))}`;
    })
    .filter((entry) => entry !== 'command client|setinfo');
}

/** How often a command was called, but for the one time in which a group tries it out. */
async function usesOf(mode: string, name: string): Promise<number> {
  const calls = await server.commandCalls();
  // Called without an argument, it is not run.
  const trial = `{ '${name.toUpperCase()}',`;
  const tried = mode === 'group' ? PROBE.text.split(trial).length - 1 : 0;
  return Object.entries(calls).reduce(
    (sum, [called, count]) =>
      called === name || called.startsWith(`${name}|`) ? sum + count : sum,
    -tried,
  );
}

/** No rule is listed that nothing needs. */
async function usesAll(mode: string): Promise<void> {
  const commands = (await rulesOf(mode))
    // Ends a subscription at run time, which nothing here does.
    .filter((rule) => rule[0] === '+' && rule !== '+punsubscribe');
  const used: string[] = [];
  for (const rule of commands)
    if ((await usesOf(mode, rule.slice(1))) > 0) used.push(rule);
  expect(used).toEqual(commands);
}

describe('with no more than the rights that the documentation lists, over TLS', () => {
  it('broadcast does all that it can', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber, close, logs } = await start(
      await rulesOf('broadcast'),
      {},
      events.add,
    );
    await subscriber.ready();

    // Long enough to be learnt of before it runs out.
    await server.redis.set('device:1', '1', 'PX', paced(1_500));
    expect(await events.one()).toMatchObject({
      key: 'device:1',
      source: 'notification',
      deadline: expect.any(Date) as Date,
    });
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', selfTest: 'passed', learning: 'new' },
    ]);
    await close();
    await usesAll('broadcast');
    expect(await refused()).toEqual([]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it.each(['broadcast', 'group'])('%s reads values', async (mode) => {
    const texts = collect<KeyExpiredEvent>();
    const hashes = collect<KeyExpiredEvent>();
    const { subscriber, close, logs } = await start(
      [...(await rulesOf(mode)), ...(await rulesOf('values'))],
      { ...(mode === 'group' && { group: 'presence' }), values: VALUES },
      () => undefined,
    );
    await subscriber.subscribe('device:*', texts.add, { value: 'text' });
    await subscriber.subscribe('device:*', hashes.add, { value: 'hash' });

    await server.redis.set('device:1', 'text', 'PX', 1_500);
    await server.redis.hset('device:2', { a: 'b' });
    await server.redis.pexpire('device:2', 1_500);

    const valuesOf = async (events: typeof texts) =>
      (await events.next(2))
        .toSorted((a, b) => (a.key < b.key ? -1 : 1))
        .map(({ value }) => value);
    expect(await valuesOf(texts)).toEqual(['text', undefined]);
    expect(await valuesOf(hashes)).toEqual([undefined, { a: 'b' }]);
    expect(await refused()).toEqual([]);
    expect(logs.texts('warn')).toEqual([]);
    await close();
    await usesAll('values');
  });

  it.each(['+getrange', '+hlen', '+hkeys', '+hstrlen', '+hgetall'])(
    'a group that asks for values is refused at the start without %s, and broadcast warns',
    async (rule) => {
      const without = [...(await rulesOf('values')), `-${rule.slice(1)}`];
      const value = rule === '+getrange' ? 'text' : 'hash';
      const events = collect<KeyExpiredEvent>();
      await expect(
        start(
          [...(await rulesOf('group')), ...without],
          { group: 'presence' },
          () => undefined,
          { value },
        ),
      ).rejects.toMatchObject({
        code: 'GROUP_REFUSED',
        message: expect.stringContaining(rule.slice(1).toUpperCase()) as string,
      });

      const { logs } = await start(
        [...(await rulesOf('broadcast')), ...without],
        { values: VALUES },
        events.add,
        { value },
      );
      await eventually(() =>
        expect(logs.texts('warn', 'let the module read values')).toHaveLength(
          1,
        ),
      );
      await server.redis.set('device:1', '1', 'PX', 800);
      const event = await events.one();
      expect(event.deadline).toBeDefined();
      expect(event).not.toHaveProperty('value');
    },
  );

  it('a group does all that it can', async () => {
    const events = collect<KeyExpiredEvent>();
    let fails = true;
    const { subscriber, close, logs } = await start(
      await rulesOf('group'),
      {
        group: 'presence',
        leaseDuration: 200,
        retry: { attempts: 2, backoff: 10 },
      },
      async (event) => {
        events.add(event);
        // Longer than its lease: it is renewed.
        await delay(300);
        if (event.key === 'device:bad' && fails) throw new Error('no');
      },
    );
    await subscriber.ready();

    await server.redis.set('device:deleted', '1', 'PX', paced(500));
    await server.redis.set('device:1', '1', 'PX', 500);
    await server.redis.set('device:bad', '1', 'PX', 500);
    await server.redis.del('device:deleted');
    const received = await events.next(3);
    expect(received.map(({ key }) => key).toSorted()).toEqual([
      'device:1',
      'device:bad',
      'device:bad',
    ]);
    await eventually(async () =>
      expect(await subscriber.deadLetters()).toHaveLength(1),
    );
    fails = false;
    const [letter] = await subscriber.deadLetters();
    await subscriber.redrive(letter!.id);
    expect((await events.one()).key).toBe('device:bad');
    // What an instance left behind that is gone is taken over.
    const stream = 'rx:{presence}:events';
    await server.redis
      .multi()
      .xadd(stream, '*', 'k', 'device:left', 'd', '', 't', '1')
      .xreadgroup(
        ...(['GROUP', 'presence', 'gone', 'COUNT', 1] as const),
        ...(['STREAMS', stream, '>'] as const),
      )
      .exec();
    expect((await events.one()).key).toBe('device:left');
    await groupIsDone(server);
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        {
          leads: true,
          dead: 0,
          nodes: [{ state: 'listening', selfTest: 'passed', learning: 'new' }],
        },
      ]),
    );
    // What was deleted in a gap is looked for.
    await server.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await server.redis.set('device:later', '1', 'PX', 60_000);
    await eventually(async () => {
      expect(await usesOf('group', 'zscan')).toBeGreaterThan(0);
      expect(await usesOf('group', 'xinfo')).toBeGreaterThan(0);
    });
    await close();
    await usesAll('group');
    expect(await refused()).toEqual([]);
    expect(logs.texts('warn')).toEqual([
      expect.stringContaining('not listening any more'),
      expect.stringContaining('listening again'),
    ]);
  });

  it('a process that only arms keys does all that it can', async () => {
    const { app, close, logs } = await start(
      await rulesOf('writer'),
      { group: 'presence', enabled: false },
      () => undefined,
    );
    const keys = app.get(RedisExpiryKeys);
    await keys.arm('device:1', { ttl: 1 });
    await eventually(async () =>
      expect(await server.redis.exists('device:1')).toBe(0),
    );

    const { created } = await keys.arm('device:1', { ttl: 60_000 });
    expect(created).toBe(true);
    expect(await keys.renew('device:1', { ttl: 60_000 })).toBe(true);
    expect(await keys.renew('device:1', { ttl: 9, value: '' })).toBe(true);
    await keys.armMany([{ key: 'device:2', ttl: 60_000 }]);
    expect(await keys.enrol(['device:2'])).toBe(1);
    await server.redis.set('rx:{presence}:lease', 'x');
    expect(await keys.cancel('device:2')).toBe(true);

    await eventually(() => usesAll('writer'));
    expect(await refused()).toEqual([]);
    // Not its keys: neither is written, nor is its deadline noted.
    await expect(keys.arm('session:1', { ttl: 1_000 })).rejects.toMatchObject({
      code: 'KEYS_REFUSED',
      message: expect.stringContaining('session:1') as string,
    });
    expect(
      await server.redis.zscore('rx:{presence}:index', 'session:1'),
    ).toBeNull();
    await close();
    expect(logs.texts('warn')).toEqual([]);
  });

  it('a second instance of a group starts, while the first one leads', async () => {
    const rules = await rulesOf('group');
    await server.redis.acl('SETUSER', 'app', 'reset', 'on', '>pw', ...rules);
    await server.redis.acl('LOG', 'RESET');
    const connection = `redis://app:pw@${server.host}:${server.port}`;
    const events = collect<string>();
    const providers = [handler('device:*', ({ key }) => events.add(key))];
    const first = await groupApp(server, providers, { connection });
    const second = await groupApp(server, providers, { connection });
    await server.redis.set('device:1', '1', 'PX', 50);

    expect(await events.one()).toBe('device:1');
    const leads = [first, second].map(
      ({ subscriber }) => subscriber.status().groups[0]!.leads,
    );
    expect(leads).toEqual([true, false]);
  });
});
