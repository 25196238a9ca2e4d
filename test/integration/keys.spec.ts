import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  recording,
  redisExpiry,
} from '../support/app.js';
import { collect } from '../support/collect.js';
import {
  type TestServer,
  connect,
  expire,
  onEveryServer,
} from '../support/servers.js';

/** The server's flags decide on which family of channels the module listens. */
const FAMILIES = [
  { family: 'keyspace', flags: 'Kx' },
  { family: 'keyevent', flags: 'Ex' },
];

async function listen(
  server: TestServer,
  patterns: string[],
  options: TestOptions = {},
) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [redisExpiry(server, options)],
    providers: [recording(events, ...patterns)],
  });
  return { ...app, events, subscriber: app.subscriber };
}

const keys = (events: readonly KeyExpiredEvent[]) =>
  events.map(({ key }) => key);

onEveryServer('keys', (server) => {
  describe.each(FAMILIES)('on $family channels', ({ flags }) => {
    it('come as they are, byte for byte', async () => {
      await server.setFlags(flags);
      const { events, subscriber } = await listen(server, ['*']);
      const given = [
        'device:42',
        'line\nbreak\r\n',
        'a:b::c:',
        ':',
        '__:',
        '__keyspace@0__:a',
        'a b "c" \'d\'',
        '*?[a]\\',
        'düsseldorf:温度:🌡',
        '0',
        'x'.repeat(100_000),
        Buffer.from([0x00]),
        Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0xc3, 0x28, 0x80]),
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
        '',
      ].map((key) => Buffer.from(key));

      await server.expire(...given);

      const heard = await events.next(given.length);
      expect(heard.map(({ keyBuffer }) => keyBuffer)).toEqual(given);
      expect(keys(heard)).toEqual(given.map((key) => key.toString()));
      expect(subscriber.status().counters).toMatchObject({
        received: given.length,
        handled: given.length,
      });
    });

    it('come with all that is known of them', async () => {
      await server.setFlags(flags);
      const { events } = await listen(server, ['device:*:at:*']);

      await server.expire('device:42:at:', 'device::at:a:at:b');

      const constant = {
        pattern: 'device:*:at:*',
        database: 0,
        source: 'notification',
        attempt: 1,
        signal: expect.any(AbortSignal) as unknown,
      };
      expect(await events.next(2)).toEqual([
        {
          ...constant,
          key: 'device:42:at:',
          keyBuffer: Buffer.from('device:42:at:'),
          captures: ['42', ''],
        },
        {
          ...constant,
          key: 'device::at:a:at:b',
          keyBuffer: Buffer.from('device::at:a:at:b'),
          captures: ['', 'a:at:b'],
        },
      ]);
    });

    it('are matched by the rules of Redis', async () => {
      await server.setFlags(flags);
      const patterns = [
        'a[0-9]',
        'a[^0-9]',
        'a?',
        'a\\*',
        '*5*',
        'a\\',
        'a[é]b',
        'a[\u0080-\u00ff]',
        'a[5',
        'a5',
      ];
      const { events } = await listen(server, patterns);

      await server.expire(
        'a5',
        'ax',
        'a*',
        'aé',
        'a55',
        '5',
        'a',
        'a\\',
        Buffer.from([0x61, 0xc3, 0x62]),
        Buffer.from([0x61, 0xff]),
        'end5',
      );

      await expect
        .poll(() => keys(events.all).filter((key) => key === 'end5'))
        .toHaveLength(1);
      const matched = events.all.map(({ key, pattern }) => `${pattern} ${key}`);
      expect(matched.toSorted()).toEqual(
        [
          ...['a[0-9] a5', 'a? a5', '*5* a5', 'a[5 a5', 'a5 a5'],
          ...['a[^0-9] ax', 'a? ax'],
          ...['a[^0-9] a*', 'a? a*', 'a\\* a*'],
          ...['*5* a55', '*5* 5', '*5* end5'],
          ...['a[^0-9] a\\', 'a? a\\', 'a\\ a\\'],
          'a[é]b a\ufffdb',
          ...['a[^0-9] a\ufffd', 'a? a\ufffd'],
        ].toSorted(),
      );
    });

    it('of another database are none of its business', async () => {
      await server.setFlags(flags);
      const { events } = await listen(server, ['*'], {
        connection: `${server.url}/3`,
      });
      const third = await connect(server, { db: 3 });
      const second = await connect(server, { db: 2 });

      await expire(second, 'k');
      await server.expire('k');
      await expire(third, 'k');

      expect(await events.one()).toMatchObject({ key: 'k', database: 3 });
      await server.expire('k');
      await expire(third, 'end');
      expect(await events.one()).toMatchObject({ key: 'end' });
    });

    it.each(['app:', 'a*b[c]:', 'a?\\:', '[x]', 'é*:', '{tag}:', '^-]'])(
      'are told without the keyPrefix %s',
      async (keyPrefix) => {
        await server.setFlags(flags);
        const { events } = await listen(server, ['d:*', 'one'], {
          connection: { host: server.host, port: server.port, keyPrefix },
        });
        const prefixed = await connect(server, { keyPrefix });

        // Keys that the prefix would match if it were a pattern, and the same without one.
        await server.expire('aXbc:d:1', 'd:2', 'aX:d:3', 'xd:4', 'one', 'd:');
        await server.expire(`x${keyPrefix}d:5`, `${keyPrefix}D:6`);
        await expire(prefixed, 'd:1', 'one', Buffer.from([0x64, 0x3a, 0xff]));

        const [first, second, third] = await events.next(3);
        expect(first).toMatchObject({
          key: 'd:1',
          keyBuffer: Buffer.from('d:1'),
          pattern: 'd:*',
          captures: ['1'],
        });
        expect(second).toMatchObject({ key: 'one', pattern: 'one' });
        expect(third!.keyBuffer).toEqual(Buffer.from([0x64, 0x3a, 0xff]));
      },
    );
  });

  describe("of the module's own", () => {
    it('reach no handler and no psubscribe', async () => {
      await server.setFlags('KEA');
      const { events, subscriber } = await listen(server, ['*']);
      const messages = collect<string[]>();
      await subscriber.psubscribe('__key*@*__:*', (...parts) =>
        messages.add(parts),
      );
      // Makes the module look at the flags, and test itself, once more.
      await server.setFlags('');
      await subscriber.subscribe('other', () => {});

      await server.expire('rx:', 'rx:self-test', 'rx', 'rxx:', 'end');

      expect(keys(await events.next(3))).toEqual(['rx', 'rxx:', 'end']);
      await expect
        .poll(() => messages.all.map((parts) => parts.join(' ')))
        .toContain('__key*@*__:* __keyspace@0__:end expired');
      expect(messages.all.flat().filter((part) => /rx:/.test(part))).toEqual(
        [],
      );
      expect(subscriber.status().counters.received).toBe(3);
    });

    it('begin with the namespace, behind the keyPrefix', async () => {
      const { events } = await listen(server, ['*'], {
        namespace: 'mine*',
        connection: { port: server.port, keyPrefix: 'app:' },
      });

      await server.expire(
        'app:mine*:x',
        'app:rx:x',
        'app:mine:x',
        'mine*:x',
        'app:end',
      );

      expect(keys(await events.next(3))).toEqual(['rx:x', 'mine:x', 'end']);
    });

    it('are gone from Redis again', async () => {
      const { close } = await listen(server, ['*']);

      expect(await server.redis.keys('*')).toEqual([]);
      await close();
      expect(await server.redis.keys('*')).toEqual([]);
    });
  });
});
