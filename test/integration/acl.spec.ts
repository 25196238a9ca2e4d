import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyExpiredEvent } from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  expectNoConnections,
  recording,
  redisExpiry,
} from '../support/app.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { TestServer, onEveryServer } from '../support/servers.js';

// What the module leaves unhandled would fail the run: vitest takes an unhandled rejection for an error.

/** An application of a user with these rules, on a server with these flags. */
async function listenAs(
  server: TestServer,
  rules: string,
  flags: string,
  options: TestOptions = {},
) {
  await server.setFlags(flags);
  await server.redis.acl('SETUSER', 'app', 'on', '>pw', ...rules.split(' '));
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [
      redisExpiry(server, {
        connection: {
          host: server.host,
          port: server.port,
          username: 'app',
          password: 'pw',
        },
        ...options,
      }),
    ],
    providers: [recording(events, 'device:*', 'lamp:1')],
  });
  return { ...app, events, subscriber: app.subscriber };
}

/** Whatever the user may otherwise do. */
const ALL = '~* &* +@all';

onEveryServer('a user whom the ACL forbids', (server) => {
  describe('CONFIG', () => {
    it.each(['Ex', 'Kx', 'KEx', 'KEA'])(
      'hears each expiry once where the operator set "%s", without a warning',
      async (flags) => {
        const { events, logs, subscriber } = await listenAs(
          server,
          `${ALL} -config`,
          flags,
        );

        await server.expire('device:1', 'other', 'lamp:1', 'device:2');

        expect((await events.next(3)).map(({ key }) => key)).toEqual([
          'device:1',
          'lamp:1',
          'device:2',
        ]);
        await eventually(() =>
          expect(subscriber.status().counters).toMatchObject({
            received: 3,
            handled: 3,
          }),
        );
        expect(subscriber.status().nodes).toMatchObject([
          { state: 'listening', selfTest: 'passed' },
        ]);
        expect(logs.texts('warn')).toEqual([]);
      },
    );

    it('is told what to ask the operator for where nothing is announced', async () => {
      const { logs, subscriber } = await listenAs(server, `${ALL} -config`, '');

      expect(subscriber.status().nodes).toMatchObject([
        { state: 'deaf', selfTest: 'failed' },
      ]);
      expect(logs.texts('warn', 'Ask the operator of the server')).toEqual([
        expect.stringMatching(
          /does not announce expiries.*CONFIG is forbidden.*add "Ex" to notify-keyspace-events.*managed services/,
        ),
      ]);
    });

    it('hears what is announced once the operator has set the flags', async () => {
      const { events } = await listenAs(server, `${ALL} -config`, '');
      await server.expire('device:lost');

      await server.setFlags('Ex');
      await server.expire('device:1');
      expect(await events.one()).toMatchObject({ key: 'device:1' });

      await server.setFlags('Kx');
      await server.expire('device:2');
      expect(await events.one()).toMatchObject({ key: 'device:2' });
    });

    it("is refused with notifications: 'verify' where nothing is announced", async () => {
      await expect(
        listenAs(server, `${ALL} -config`, '', { notifications: 'verify' }),
      ).rejects.toMatchObject({
        code: 'NOTIFICATIONS_MISSING',
        message: expect.stringMatching(/not readable.*self-test failed/),
      });
      await expect(expectNoConnections()).resolves.toBeUndefined();
    });

    it("passes with notifications: 'verify' where expiries are heard", async () => {
      const { events } = await listenAs(server, `${ALL} -config`, 'Ex', {
        notifications: 'verify',
      });

      await server.expire('device:1');

      expect((await events.one()).key).toBe('device:1');
    });
  });

  it.each(['-config|set', '-@admin', '-@dangerous +info'])(
    '%s hears expiries, and is warned where the flags are missing',
    async (rule) => {
      const { events, logs } = await listenAs(server, `${ALL} ${rule}`, 'Ex');
      await server.expire('device:1');
      expect((await events.one()).key).toBe('device:1');
      expect(logs.texts('warn')).toEqual([]);

      await server.setFlags('');
      const second = await listenAs(server, `${ALL} ${rule}`, 'K');
      expect(second.logs.texts('warn', 'Ask the operator')).toHaveLength(1);
      expect(await server.flags()).toBe('K');
    },
  );

  it.each([
    ['writing', '-@write'],
    ['writing by a read-only key pattern', 'resetkeys %R~* +@all'],
    ["the module's own keys", 'resetkeys ~device:* ~lamp:*'],
  ])('%s hears expiries by what CONFIG tells', async (_, rules) => {
    const { events, subscriber, logs } = await listenAs(
      server,
      `${ALL} ${rules}`,
      '',
    );

    await server.expire('device:1', 'lamp:1');

    expect((await events.next(2)).map(({ key }) => key)).toEqual([
      'device:1',
      'lamp:1',
    ]);
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', selfTest: 'unavailable', missingFlags: '' },
    ]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it('both CONFIG and writing hears expiries, and is told that this is not certain', async () => {
    const { events, logs, subscriber } = await listenAs(
      server,
      `${ALL} -config -@write`,
      'Ex',
    );

    await server.expire('device:1');

    expect((await events.one()).key).toBe('device:1');
    expect(logs.texts('warn')).toEqual([
      expect.stringMatching(/whether it announces expiries is not known/),
    ]);
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', selfTest: 'unavailable' },
    ]);
  });

  it('EXISTS is handed keys that may be alive, and is told so once', async () => {
    const { events, logs, subscriber } = await listenAs(
      server,
      `${ALL} -exists`,
      'Ex',
    );

    await server.expire('device:1');
    await events.one();
    await server.expire('device:2');
    await events.one();

    expect(subscriber.status().counters).toMatchObject({
      received: 2,
      superseded: 0,
    });
    expect(logs.texts('warn', 'Grant EXISTS')).toHaveLength(1);
  });

  it('keys outside its own hears expiries of its own', async () => {
    const { events } = await listenAs(
      server,
      'resetkeys ~device:* &* +@all',
      'Ex',
    );

    await server.expire('other:1', 'device:1');

    expect((await events.one()).key).toBe('device:1');
  });

  describe('channels but', () => {
    it.each([
      ['&__keyevent@0__:*', 'KEx'],
      ['&__keyevent@0__:*', 'Ex'],
      ['&__keyevent@0__:expired', 'KEx'],
      // A pattern is granted by that very text only.
      ['&__keyspace@0__:device:* &__keyspace@0__:lamp:1', 'KEx'],
      ['&__keyspace@0__:device:* &__keyspace@0__:lamp:1', 'KEA'],
      // The family that is granted is not on yet.
      ['&__keyspace@0__:device:* &__keyspace@0__:lamp:1', 'Ex'],
      ['&__keyspace@0__:device:* &__keyspace@0__:lamp:1', 'Exg'],
      ['&__keyevent@0__:*', 'Kx'],
      ['&__key*@0__:*', 'KEx'],
    ])('%s hears expiries, on a server with %s', async (channels, flags) => {
      const { events, subscriber } = await listenAs(
        server,
        `~* resetchannels ${channels} +@all`,
        flags,
      );

      await server.expire('device:1', 'other', 'lamp:1');

      expect((await events.next(2)).map(({ key }) => key)).toEqual([
        'device:1',
        'lamp:1',
      ]);
      expect(subscriber.status().nodes).toMatchObject([
        { state: 'listening', refused: [] },
      ]);
    });

    it('&__keyevent@0__:* hears expiries without CONFIG, too', async () => {
      const { events } = await listenAs(
        server,
        '~* resetchannels &__keyevent@0__:* +@all -config',
        'KEx',
      );

      await server.expire('device:1');

      expect((await events.one()).key).toBe('device:1');
    });

    it.each(['', '&news', '&__keyevent@1__:*'])(
      '"%s" is refused at start, with a clear error',
      async (channels) => {
        await expect(
          listenAs(server, `~* resetchannels ${channels} +@all`.trim(), 'KEx'),
        ).rejects.toMatchObject({
          name: 'RedisExpiryError',
          code: 'SUBSCRIPTION_REFUSED',
          message: expect.stringMatching(
            new RegExp(
              `${server.address} refuses the subscription to "(device:\\*|lamp:1)": NOPERM.*ACL`,
            ),
          ),
        });
        await expect(expectNoConnections()).resolves.toBeUndefined();
      },
    );
  });

  describe('all but what the documentation names as least, with', () => {
    const least =
      '-@all +subscribe +psubscribe +unsubscribe +punsubscribe +ping +info +exists +pttl +scan +time ~device:* ~lamp:*';
    const better = '+eval +config|get +config|set +set +rpush ~rx:*';

    // A pattern is granted by that very text only.
    const keyspace = '&__keyspace@0__:device:* &__keyspace@0__:lamp:1';

    it.each([
      ['Ex', '&__keyevent@0__:*', ''],
      ['Kx', keyspace, ''],
      ['KEx', '&__keyevent@0__:*', better],
      ['KEx', keyspace, better],
      ['', '&__keyevent@0__:*', better],
      ['', keyspace, better],
    ])('the flags "%s", and %s %s, hears expiries', async (flags, ...rules) => {
      const { events, subscriber } = await listenAs(
        server,
        [least, ...rules].join(' ').trim(),
        flags,
      );

      await server.expire('device:1', 'lamp:1');

      expect((await events.next(2)).map(({ key }) => key)).toEqual([
        'device:1',
        'lamp:1',
      ]);
      expect(subscriber.status().nodes).toMatchObject([{ state: 'listening' }]);
    });
  });
});

onEveryServer('a server', (server) => {
  /** As managed services do it: the command is not known at all. */
  async function startWithoutConfig(flags: string) {
    const managed = new TestServer({
      path: server.process.path,
      config: {
        'rename-command': 'CONFIG ""',
        'notify-keyspace-events': flags,
      },
    });
    onTestFinished(() => managed.stop());
    await managed.start();
    const events = collect<KeyExpiredEvent>();
    const app = await createApp({
      imports: [redisExpiry(managed)],
      providers: [recording(events, 'device:*')],
    });
    return { ...app, managed, events, subscriber: app.subscriber };
  }

  it('that knows no CONFIG is listened to where its flags are set', async () => {
    const { managed, events, logs, subscriber } =
      await startWithoutConfig('Ex');

    await managed.expire('device:1', 'device:2');

    expect((await events.next(2)).map(({ key }) => key)).toEqual([
      'device:1',
      'device:2',
    ]);
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', selfTest: 'passed' },
    ]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it('that knows no CONFIG, and has no flags, is told of', async () => {
    const { logs, subscriber } = await startWithoutConfig('');

    expect(subscriber.status().nodes).toMatchObject([{ state: 'deaf' }]);
    expect(logs.texts('warn', 'Ask the operator of the server')).toHaveLength(
      1,
    );
  });

  it('that was out of memory is listened to, and may be even then', async () => {
    await server.redis.config('SET', 'maxmemory', '1');
    const events = collect<KeyExpiredEvent>();
    const starting = createApp({
      imports: [redisExpiry(server)],
      providers: [recording(events, 'device:*')],
    });
    // Redis 8.6 refuses to subscribe then, others only to write.
    await eventually(async () =>
      expect(await server.commandCalls()).toHaveProperty('psubscribe'),
    );
    await server.redis.config('SET', 'maxmemory', '0');
    await starting;

    await server.expire('device:1');

    expect((await events.one()).key).toBe('device:1');
  });
});
