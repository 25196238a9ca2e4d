import { describe, expect, it } from 'vitest';
import type { RedisExpiryKeys } from '../../../lib/index.js';
import { writer } from '../../support/armed/writer.js';
import { useServer } from '../../support/servers.js';

const server = useServer();

type Call = (keys: RedisExpiryKeys) => Promise<unknown>;

/** As somebody calls it who has no types. */
const untyped = (keys: RedisExpiryKeys) =>
  keys as unknown as Record<
    'arm' | 'armMany' | 'renew' | 'cancel' | 'enrol',
    (...given: unknown[]) => Promise<unknown>
  >;

const CALLS: [what: string, call: Call, code: string, says: RegExp][] = [
  [
    'a key that is a number',
    (keys) => untyped(keys).arm(42, { ttl: 1 }),
    'INVALID_OPTION_KEY',
    /"key" is 42; accepted: a string or a Buffer/,
  ],
  [
    'no time to live',
    (keys) => untyped(keys).arm('k', {}),
    'INVALID_OPTION_TTL',
    /"ttl" is undefined; accepted: whole milliseconds from 1 to/,
  ],
  [
    'a time to live of nothing',
    (keys) => keys.arm('k', { ttl: 0 }),
    'INVALID_OPTION_TTL',
    /"ttl" is 0;/,
  ],
  [
    'a fraction of a millisecond',
    (keys) => keys.renew('k', { ttl: 1.5 }),
    'INVALID_OPTION_TTL',
    /"ttl" is 1.5;/,
  ],
  [
    'more than a hundred years',
    (keys) => keys.renew('k', { ttl: 2 ** 52 }),
    'INVALID_OPTION_TTL',
    /from 1 to 3155760000000/,
  ],
  [
    'a value that is an object',
    (keys) => untyped(keys).arm('k', { ttl: 1, value: { a: 1 } }),
    'INVALID_OPTION_VALUE',
    /"value" is \{ a \}; accepted: a string or a Buffer/,
  ],
  [
    'a group with braces',
    (keys) => keys.arm('k', { ttl: 1, group: '{a}' }),
    'INVALID_OPTION_GROUP',
    /"group" is "\{a\}"; accepted: a name without/,
  ],
  [
    'an option that there is not',
    (keys) => untyped(keys).arm('k', { ttl: 1, px: 1 }),
    'INVALID_OPTION_PX',
    /"px" is 1; accepted: no such option; ttl, value, group/,
  ],
  [
    'no options',
    (keys) => untyped(keys).arm('k'),
    'INVALID_OPTION_KEY_OPTIONS',
    /"key options" is undefined; accepted: an object/,
  ],
  [
    'entries that are no array',
    (keys) => untyped(keys).armMany({ key: 'k', ttl: 1 }),
    'INVALID_OPTION_ENTRIES',
    /"entries" is \{ key, ttl \}; accepted: an array/,
  ],
  [
    'an entry that is none',
    (keys) => untyped(keys).armMany(['k']),
    'INVALID_OPTION_ENTRIES',
    /^Entry 0: Option "entries" is "k"; accepted: objects/,
  ],
  [
    'an entry among others',
    (keys) =>
      keys.armMany([
        { key: 'k', ttl: 1 },
        { key: 'l', ttl: -1 },
      ]),
    'INVALID_OPTION_TTL',
    /^Entry 1: Option "ttl" is -1;/,
  ],
  [
    'keys that are no array',
    (keys) => untyped(keys).enrol('k'),
    'INVALID_OPTION_KEYS',
    /"keys" is "k"; accepted: an array of keys/,
  ],
  [
    'a key among others',
    (keys) => untyped(keys).enrol(['k', null]),
    'INVALID_OPTION_KEY',
    /^Key 1 is null; accepted: a string or a Buffer/,
  ],
  [
    'a group that is a number',
    (keys) => untyped(keys).cancel('k', { group: 7 }),
    'INVALID_OPTION_GROUP',
    /"group" is 7;/,
  ],
];

describe('what cannot be armed', () => {
  it.each(CALLS)('%s is refused by name', async (_, call, code, message) => {
    const { keys } = await writer({ connection: server.url });

    await expect(call(keys)).rejects.toMatchObject({
      ...{ name: 'RedisExpiryError', code },
      message: expect.stringMatching(message) as string,
    });
    expect(await server.redis.dbsize()).toBe(0);
    expect(await server.connections()).toEqual([]);
  });

  it.each<[string, Call]>([
    ['arm', (keys) => keys.arm('k', { ttl: 1 })],
    ['armMany', (keys) => keys.armMany([{ key: 'k', ttl: 1 }])],
    ['renew', (keys) => keys.renew('k', { ttl: 1 })],
    ['cancel', (keys) => keys.cancel('k')],
    ['enrol', (keys) => keys.enrol(['k'])],
  ])(
    '%s without a group is refused, unless the call names one',
    async (_, call) => {
      const { keys } = await writer({
        connection: server.url,
        group: undefined,
      });

      await expect(call(keys)).rejects.toMatchObject({
        code: 'NO_GROUP',
        message: expect.stringContaining('{ group }') as string,
      });
      expect(await server.redis.dbsize()).toBe(0);
      await keys.arm('k', { ttl: 60_000, group: 'named' });
      expect(await server.redis.zcard('rx:{named}:index')).toBe(1);
    },
  );
});
