import { Cluster, Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import {
  type ConnectionForm,
  readConnectionForm,
} from '../../../lib/connection/connection-option.js';

/** Such a client connects to nothing, and holds nothing. */
const lazy = { lazyConnect: true };

function read(connection?: ConnectionForm) {
  const target = readConnectionForm(connection);
  expect(target.first.status).toBe('wait');
  return target;
}

const serverOf = (connection?: ConnectionForm) => {
  const { options } = read(connection).first as Redis;
  const { host, port, db, username, password, path } = options;
  return { host, port, db, username, password, path };
};

describe('readConnectionForm', () => {
  it.each<[connection: string, server: object]>([
    ['redis://10.0.0.1', { host: '10.0.0.1', port: 6379, db: 0 }],
    ['redis://10.0.0.1:7000/3', { host: '10.0.0.1', port: 7000, db: 3 }],
    [
      'redis://us%40er:p%40ss%3A%2F@h:1/0',
      { username: 'us@er', password: 'p@ss:/', db: 0 },
    ],
    ['redis://:secret@h', { host: 'h', password: 'secret' }],
    ['rediss://h:2', { host: 'h', port: 2 }],
    ['/var/run/redis.sock', { path: '/var/run/redis.sock' }],
    ['redis://[::1]:7000', { host: '::1', port: 7000 }],
  ])('takes %s', (connection, server) => {
    expect(serverOf(connection)).toMatchObject(server);
  });

  it('takes 127.0.0.1:6379 for the default', () => {
    expect(serverOf()).toMatchObject({
      host: '127.0.0.1',
      port: 6379,
      db: 0,
    });
  });

  it('turns TLS on by rediss', () => {
    const { options } = read('rediss://h').first as Redis;

    expect(options.tls).toBeTruthy();
    expect((read('redis://h').first as Redis).options.tls).toBeFalsy();
  });

  it.each<[what: string, connection: ConnectionForm, expected: object]>([
    ['a URL', 'redis://h/3', { keyPrefix: '', database: 3, isCluster: false }],
    [
      'a URL with a query',
      'redis://h?keyPrefix=app:&connectTimeout=500',
      { keyPrefix: 'app:' },
    ],
    [
      'options',
      { host: 'h', db: 2, keyPrefix: 'app:', connectTimeout: 700 },
      { keyPrefix: 'app:', database: 2, connectTimeout: 700 },
    ],
    [
      'a client',
      new Redis({ ...lazy, db: 4, keyPrefix: 'p:' }),
      { keyPrefix: 'p:', database: 4, isCluster: false },
    ],
    [
      'a Cluster with its prefix outside',
      { nodes: ['redis://h:1'], options: { keyPrefix: 'c:' } },
      { keyPrefix: 'c:', database: 0, isCluster: true },
    ],
    [
      'a Cluster with its prefix inside',
      {
        nodes: [{ host: 'h', port: 1 }],
        options: { redisOptions: { keyPrefix: 'c:', connectTimeout: 5 } },
      },
      { keyPrefix: 'c:', connectTimeout: 5, isCluster: true },
    ],
    [
      "a Cluster of the user's",
      new Cluster([{ host: 'h', port: 1 }], { ...lazy, keyPrefix: 'c:' }),
      { keyPrefix: 'c:', isCluster: true },
    ],
  ])('reads prefix, database and timeout of %s', (_, connection, expected) => {
    expect(read(connection)).toMatchObject(expected);
  });

  it.each<[what: string, connection: ConnectionForm | undefined, boolean]>([
    ['nothing', undefined, false],
    ['a URL', 'redis://h', false],
    ['a URL that says so', 'redis://h?lazyConnect=true', true],
    ['a URL that says otherwise', 'redis://h?lazyConnect=false', false],
    ['options', { host: 'h' }, false],
    ['options that say so', { host: 'h', lazyConnect: true }, true],
    ['a client', new Redis({ ...lazy, host: 'h' }), true],
    ['nodes', { nodes: ['redis://h:1'] }, false],
    ['nodes that say so', { nodes: ['redis://h:1'], options: lazy }, true],
  ])('waits for Redis at start, with %s, unless told not to', (...row) => {
    const [, connection, isLazy] = row;
    expect(read(connection).lazyConnect).toBe(isLazy);
  });

  it("leaves the user's options object alone", () => {
    const options = Object.freeze({
      host: 'h',
      tls: Object.freeze({ servername: 's' }),
    });
    const nodes = { nodes: ['redis://h:1'], options: { redisOptions: {} } };
    const copy = structuredClone(nodes);

    read(options);
    read(nodes);

    expect(options).toEqual({ host: 'h', tls: { servername: 's' } });
    expect(nodes).toEqual(copy);
  });

  it("takes the user's client as it is", () => {
    const client = new Redis(lazy);

    expect(read(client).first).toBe(client);
  });

  it('knows a client of another copy of ioredis by its shape', () => {
    const client = new Redis(lazy);
    // `instanceof Redis` is false of it.
    const foreign = new Proxy(client, { getPrototypeOf: () => null });

    expect(read(foreign).first).toBe(foreign);
  });

  describe('retryDelay', () => {
    const delays = (connection: ConnectionForm) =>
      [1, 2, 5, 1_000].map(readConnectionForm(connection).retryDelay);

    it("is the user's", () => {
      const retryStrategy = (attempt: number) => attempt * 10;

      expect(delays({ host: 'h', retryStrategy })).toEqual([
        10, 20, 50, 10_000,
      ]);
      expect(
        delays({
          nodes: ['redis://h:1'],
          options: { clusterRetryStrategy: retryStrategy },
        }),
      ).toEqual([10, 20, 50, 10_000]);
    });

    it.each([null, undefined, 0, -1, 'soon'])(
      'goes on where the strategy says %j',
      (answer) => {
        const retryStrategy = () => answer as null;
        for (const delay of delays({ host: 'h', retryStrategy })) {
          expect(delay).toBeGreaterThan(0);
          expect(delay).toBeLessThanOrEqual(5_000);
        }
      },
    );

    it('grows, and no further than seconds, by default', () => {
      const given = delays({ host: 'h' });

      expect(given[0]).toBeLessThan(1_000);
      expect(Math.max(...given)).toBeLessThanOrEqual(6_000);
    });
  });

  describe('refuses', () => {
    it.each<[connection: unknown, code: string, said: RegExp | string]>([
      [5, 'CONNECTION', /is 5;/],
      [null, 'CONNECTION', /is null;/],
      [true, 'CONNECTION', /is true;/],
      [[], 'CONNECTION', /an array of 0/],
      [['redis://h'], 'CONNECTION', /an array of 1/],
      [() => 'redis://h', 'CONNECTION', /a function/],
      ['', 'CONNECTION', /is "";/],
      ['localhost', 'CONNECTION', '"localhost"'],
      ['localhost:6379', 'CONNECTION', '"localhost:6379"'],
      ['http://localhost', 'CONNECTION', '"http://localhost"'],
      ['redis:/localhost', 'CONNECTION', '"redis:/localhost"'],
      ['redis://h:99999', 'CONNECTION', /parses/],
      ['redis://h/first', 'CONNECTION', /database/],
      ['redis://h/1/2', 'CONNECTION', /database/],
      ['redis://h/-1', 'CONNECTION', /database/],
      [{ nodes: [] }, 'CONNECTION_NODES', /an array of 0/],
      [{ nodes: 'redis://h' }, 'CONNECTION_NODES', '"redis://h"'],
      [{ nodes: undefined }, 'CONNECTION_NODES', 'undefined'],
      [{ port: -1 }, 'CONNECTION_PORT', /is -1;/],
      [{ port: 65_536 }, 'CONNECTION_PORT', /is 65536;/],
      [{ port: 1.5 }, 'CONNECTION_PORT', /is 1.5;/],
      [{ port: 'redis' }, 'CONNECTION_PORT', /is "redis";/],
      [{ port: Number.NaN }, 'CONNECTION_PORT', /is NaN;/],
      [{ db: -1 }, 'CONNECTION_DB', /is -1;/],
      [{ db: 0.5 }, 'CONNECTION_DB', /is 0.5;/],
      [{ db: 'first' }, 'CONNECTION_DB', /is "first";/],
    ])('%j', (connection, code, said) => {
      expect(() => readConnectionForm(connection as ConnectionForm)).toThrow(
        expect.objectContaining({
          name: 'RedisExpiryError',
          code: `INVALID_OPTION_${code}`,
          message: expect.stringMatching(said),
        }),
      );
    });

    it.each([
      'redis://user:s3cret@h/first',
      'redis://:s3cret@h/first',
      'redis://user:s3cret@h:99999',
      'rediss://user:s3cret@h:99999',
      'http://user:s3cret@h',
      'redis://user:p@s3cret@h/first',
      'redis://user:p/s3cret@h/first',
      'redis://h/first?password=s3cret',
      'user:s3cret@h:6379',
      ':s3cret@h:6379',
    ])('%s without telling the password', (connection) => {
      const error: unknown = (() => {
        try {
          return readConnectionForm(connection);
        } catch (reason) {
          return reason;
        }
      })();

      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).toContain('"connection"');
      expect((error as Error).message).not.toContain('s3cret');
      expect((error as Error).stack).not.toContain('s3cret');
    });
  });
});
