import { describe, expect, it } from 'vitest';
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
import { type TestServer, connect, onEveryServer } from '../support/servers.js';

async function listen(server: TestServer, options: TestOptions = {}) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [redisExpiry(server, options)],
    providers: [recording(events, 'device:*')],
  });
  return { ...app, events, subscriber: app.subscriber };
}

/** Each letter that the text stands for, apart from those that CONFIG GET may hide. */
const letters = (flags: string) =>
  new Set(flags.replace('A', 'g$lshzxetd').replace('n', ''));

/** Whether `new` is published, which CONFIG GET does not tell where A is on. */
async function announcesNew(server: TestServer): Promise<boolean> {
  const heard = collect<string>();
  const redis = await connect(server);
  redis.on('pmessage', (_: string, channel: string, message: string) =>
    heard.add(`${channel} ${message}`),
  );
  await redis.psubscribe('__key*@0__:*', 'end');
  await server.redis.set('announces-new', '1');
  await server.redis.publish('end', '');
  await eventually(() => expect(heard.all).toContain('end '));
  redis.disconnect();
  await server.redis.del('announces-new');
  return (
    heard.all.includes('__keyevent@0__:new announces-new') ||
    heard.all.includes('__keyspace@0__:announces-new new')
  );
}

onEveryServer('notify-keyspace-events', (server) => {
  const presets = ['', 'Ex', 'Kx', 'KEx', 'KEA', 'AE', 'AEn', 'AKn', 'Kg$'];
  const more = [
    'E',
    'K',
    'x',
    'A',
    'An',
    'n',
    'KEn',
    'Eg$lshzetdn',
    'KEg$lshzxetdn',
  ];

  describe("with notifications: 'ensure'", () => {
    it.each([...presets, ...more])(
      'hears each expiry once, whatever flags there were: "%s"',
      async (flags) => {
        await server.setFlags(flags);
        const { events, subscriber } = await listen(server);

        await server.expire('device:1', 'other:1', 'device:2', 'device:3');

        const heard = await events.next(3);
        expect(heard.map(({ key }) => key)).toEqual([
          'device:1',
          'device:2',
          'device:3',
        ]);
        await eventually(() =>
          expect(subscriber.status().counters.handled).toBe(3),
        );
        expect(subscriber.status().counters.received).toBe(3);
      },
    );

    it.each([...presets, ...more])(
      'keeps the flags that were there: "%s"',
      async (flags) => {
        await server.setFlags(flags);
        await listen(server);

        const now = await server.flags();
        expect([...letters(flags)].filter((l) => !letters(now).has(l))).toEqual(
          [],
        );
        expect(letters(now)).toContain('x');
        expect(now).toMatch(/[KE]/);
        expect(!flags.includes('n') || (await announcesNew(server))).toBe(true);
      },
    );

    it.each(['Ex', 'Kx', 'KEx', 'KEA', 'AE', 'AEn'])(
      'writes nothing where nothing is missing: "%s"',
      async (flags) => {
        await server.setFlags(flags);
        const before = await server.commandCalls();
        await listen(server);

        const after = await server.commandCalls();
        expect(after['config|set']).toBe(before['config|set']);
      },
    );

    it('adds no more than it needs', async () => {
      await listen(server);

      expect(letters(await server.flags())).toEqual(letters('Kx'));
    });

    it('says what it changed', async () => {
      await server.setFlags('Kg$');
      const { logs } = await listen(server);

      expect(
        logs.texts('log', 'notify-keyspace-events was "g$K", set to "'),
      ).toHaveLength(1);
    });

    it('never drops a class that the server does not print', async () => {
      await server.setFlags('AEn');
      const { subscriber } = await listen(server);

      // Needs the flag K.
      await subscriber.psubscribe('__keyspace@0__:foo', () => {});

      expect(await server.flags()).toContain('K');
      expect(await announcesNew(server)).toBe(true);
    });

    it('never drops a class that the server does not print, whenever it was switched on', async () => {
      await server.setFlags('AE');
      const { subscriber } = await listen(server);
      // Another application's; CONFIG GET says AE before and after.
      await server.setFlags('AEn');
      expect(await announcesNew(server)).toBe(true);

      // Needs the flag K.
      await subscriber.psubscribe('__keyspace@0__:foo', () => {});

      expect(await server.flags()).toContain('K');
      expect(await announcesNew(server)).toBe(true);
    });

    it('shows the flags in status()', async () => {
      await server.setFlags('g$E');
      const { subscriber } = await listen(server);

      expect(subscriber.status().nodes).toMatchObject([
        { flags: await server.flags(), missingFlags: '', selfTest: 'passed' },
      ]);
    });
  });

  describe("with notifications: 'verify'", () => {
    it.each(['Ex', 'Kx', 'KEA', 'AEn', 'KEx'])(
      'passes with "%s", and changes nothing',
      async (flags) => {
        await server.setFlags(flags);
        const before = await server.flags();
        const { events, subscriber } = await listen(server, {
          notifications: 'verify',
        });

        await server.expire('device:1');

        expect((await events.one()).key).toBe('device:1');
        expect(await server.flags()).toBe(before);
        expect(subscriber.status().nodes).toMatchObject([
          { state: 'listening', missingFlags: '', selfTest: 'passed' },
        ]);
      },
    );

    it.each([
      ['', 'Kx'],
      ['Kg$', 'x'],
      ['E', 'x'],
      ['x', 'K'],
      ['KEn', 'x'],
    ])(
      'rejects at start with "%s", and changes nothing',
      async (flags, lacks) => {
        await server.setFlags(flags);
        const before = await server.flags();

        await expect(
          listen(server, { notifications: 'verify' }),
        ).rejects.toMatchObject({
          name: 'RedisExpiryError',
          code: 'NOTIFICATIONS_MISSING',
          message: expect.stringMatching(
            new RegExp(
              `${server.address}.*notify-keyspace-events is "${before.replaceAll('$', '\\$')}", missing "${lacks}".*notifications: 'ensure'`,
            ),
          ),
        });

        expect(await server.flags()).toBe(before);
        await expect(expectNoConnections([server])).resolves.toBeUndefined();
      },
    );

    it('tells what a later subscription lacks', async () => {
      await server.setFlags('Ex');
      const { subscriber, logs } = await listen(server, {
        notifications: 'verify',
      });

      await subscriber.psubscribe('__keyspace@0__:foo', () => {});

      expect(await server.flags()).toBe('xE');
      expect(subscriber.status().nodes).toMatchObject([{ missingFlags: 'K' }]);
      expect(logs.texts('warn', 'lacks the flags "K"')).toHaveLength(1);
    });
  });

  describe("with notifications: 'off'", () => {
    it.each(['Ex', 'Kx', 'KEA', 'Eg'])(
      'neither looks at "%s", nor writes anything',
      async (flags) => {
        await server.setFlags(flags);
        const before = await server.flags();
        await server.redis.config('RESETSTAT');
        const app = await listen(server, { notifications: 'off' });

        const calls = Object.keys(await server.commandCalls());
        expect(calls.filter((call) => !HARMLESS.test(call))).toEqual([]);
        expect(await server.flags()).toBe(before);
        expect(app.subscriber.status().nodes).toMatchObject([
          { state: 'listening', selfTest: 'off' },
        ]);
        expect(app.subscriber.status().nodes[0]).not.toHaveProperty('flags');
        expect(app.logs.texts('warn')).toEqual([]);
      },
    );

    it.each(['Ex', 'Kx', 'KEx', 'KEA'])(
      'hears each expiry once where the operator set "%s"',
      async (flags) => {
        await server.setFlags(flags);
        const { events, subscriber } = await listen(server, {
          notifications: 'off',
        });

        await server.expire('device:1', 'other');
        expect((await events.one()).key).toBe('device:1');
        await server.expire('device:1', 'device:2');
        const heard = await events.next(2);

        expect(heard.map(({ key }) => key)).toEqual(['device:1', 'device:2']);
        await eventually(() =>
          expect(subscriber.status().counters.handled).toBe(3),
        );
        expect(subscriber.status().counters.received).toBe(3);
      },
    );

    it.each(['Ex', 'Kx', 'KEx', 'KEA'])(
      'hears each expiry once for each pattern that matches: "%s"',
      async (flags) => {
        await server.setFlags(flags);
        const events = collect<KeyExpiredEvent>();
        const { subscriber } = await createApp({
          imports: [redisExpiry(server, { notifications: 'off' })],
          providers: [recording(events, 'device:*', '*:1', 'device:1')],
        });
        // The same channels that the handlers are listening on.
        for (const channel of [
          '__keyevent@0__:expired',
          '__keyspace@0__:device:*',
          '__keyspace@0__:device:1',
        ])
          await subscriber.psubscribe(channel, () => {});

        await server.expire('device:1', 'device:2', 'lamp:1');

        const heard = await events.next(5);
        expect(
          heard.map(({ key, pattern }) => `${key} ${pattern}`).toSorted(),
        ).toEqual([
          'device:1 *:1',
          'device:1 device:*',
          'device:1 device:1',
          'device:2 device:*',
          'lamp:1 *:1',
        ]);
        await eventually(() =>
          expect(subscriber.status().counters.handled).toBe(5),
        );
        expect(subscriber.status().counters.received).toBe(5);
      },
    );

    it('starts listening to what is switched on later', async () => {
      const { events } = await listen(server, { notifications: 'off' });
      await server.expire('device:1');

      await server.setFlags('Ex');
      await server.expire('device:2');
      await server.setFlags('Kx');
      await server.expire('device:3');

      const heard = await events.next(2);
      expect(heard.map(({ key }) => key)).toEqual(['device:2', 'device:3']);
    });
  });
});

/** What a client asks for by itself, and what listening takes; nothing of CONFIG, and no write. */
const HARMLESS =
  /^(hello|auth|select|info|ping|p?(un)?subscribe|client\|\w+|command\|?\w*|config\|resetstat)$/;
