import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Redis, type RedisOptions } from 'ioredis';
import {
  afterAll,
  beforeAll,
  describe,
  expect,
  it,
  onTestFinished,
  vi,
} from 'vitest';
import type { KeyExpiredEvent } from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  expectNoConnections,
  recording,
  redisExpiry,
} from '../support/app.js';
import { collect } from '../support/collect.js';
import { paced } from '../support/paced.js';
import { RedisServer } from '../support/redis/redis-server.mjs';
import {
  TestServer,
  type TestServerOptions,
  connect,
  expire,
  useServer,
} from '../support/servers.js';
import { tlsPort } from '../support/tls.js';

const server = useServer();

type Connection = TestOptions['connection'];

async function listen(connection: Connection, options: TestOptions = {}) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [redisExpiry(server, { connection, ...options })],
    providers: [recording(events, 'device:*')],
  });
  return { ...app, events, subscriber: app.subscriber };
}

describe('a URL', () => {
  it.each([
    ['without credentials', () => server.url],
    ['with a database', () => `${server.url}/0`],
    ['with localhost', () => `redis://localhost:${server.port}?family=4`],
  ])('%s', async (_, url) => {
    const { events, subscriber } = await listen(url());

    await server.expire('device:42');

    expect(await events.one()).toMatchObject({ key: 'device:42', database: 0 });
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', role: 'primary' },
    ]);
  });

  it('with user, password and database', async () => {
    await server.redis.acl('SETUSER', ...['us@er', 'on', '>p@ss:/w%rd']);
    await server.redis.acl('SETUSER', ...['us@er', '~*', '&*', '+@all']);
    const credentials = `us%40er:${encodeURIComponent('p@ss:/w%rd')}`;
    const { events, logs, subscriber } = await listen(
      `redis://${credentials}@${server.host}:${server.port}/3`,
    );

    await expire(await connect(server, { db: 3 }), 'device:42');

    expect(await events.one()).toMatchObject({ database: 3 });
    const users = (await server.connections()).map(
      (connection) => (connection as Record<string, string>).user,
    );
    expect(new Set(users)).toEqual(new Set(['us@er']));
    expect(logs.everything).not.toContain('p@ss');
    expect(JSON.stringify(subscriber.status())).not.toContain('p@ss');
  });
});

describe('a server with a password', () => {
  const options: TestServerOptions = {
    args: ['--requirepass', 's3cret'],
    login: { password: 's3cret' },
  };
  const secured = new TestServer(options);
  beforeAll(() => secured.start());
  afterAll(() => secured.stop());

  it('is listened to with it', async () => {
    const { events } = await listen(
      `redis://:s3cret@${secured.host}:${secured.port}`,
    );

    await secured.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it.each<[what: string, said: RegExp, options: RedisOptions]>([
    ['no password', /NOAUTH/, {}],
    ['a wrong password', /WRONGPASS/, { password: 'wr0ng' }],
    ['an unknown user', /WRONGPASS/, { username: 'who', password: 'wr0ng' }],
  ])('refuses %s at once, with a clear error', async (_, said, login) => {
    // A test that waited for connectTimeout would not end.
    const failing = listen({
      port: secured.port,
      connectTimeout: 3_600_000,
      ...login,
    });

    await expect(failing).rejects.toMatchObject({
      name: 'RedisExpiryError',
      code: 'CONNECT_FAILED',
      message: expect.stringMatching(said),
    });
    await expect(failing).rejects.toMatchObject({
      message: expect.not.stringContaining('wr0ng'),
    });
    await expect(expectNoConnections([secured])).resolves.toBeUndefined();
  });
});

describe('TLS', () => {
  it('by options', async () => {
    const { port, ca } = await tlsPort(server);
    const { events } = await listen({ host: 'localhost', port, tls: { ca } });

    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it('by a rediss URL', async () => {
    const { port } = await tlsPort(server);
    // A URL has no room for a certificate.
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { events } = await listen(`rediss://localhost:${port}`);

    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it('refuses a certificate that nobody vouches for', async () => {
    const { port } = await tlsPort(server);

    const connectTimeout = paced(1_000);
    await expect(
      listen({ host: 'localhost', port, tls: {}, connectTimeout }),
    ).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringMatching(/localhost:\d+: self-signed certificate/),
    });
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });
});

describe('a Unix socket', () => {
  const local = new TestServer({ unixSocket: true });
  beforeAll(() => local.start());
  afterAll(() => local.stop());

  it.each<[form: string, connection: () => Connection]>([
    ['as a path', () => local.process.unixSocket!],
    ['as a unix URL', () => `unix://${local.process.unixSocket}`],
    ['as an option', () => ({ path: local.process.unixSocket! })],
    ['as a client', () => local.redis],
  ])('%s', async (_, connection) => {
    const { events, subscriber } = await listen(connection());

    await local.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
    expect(subscriber.status().nodes[0]!.address).toMatch(/redis\.sock$/);
  });
});

describe('ioredis options', () => {
  it('are those of every connection', async () => {
    const { events } = await listen({
      host: server.host,
      port: server.port,
      db: 3,
      keyPrefix: 'app:',
      enableReadyCheck: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectionName: 'mine',
    });

    await expire(await connect(server, { db: 3 }), 'app:device:42');

    expect(await events.one()).toMatchObject({ key: 'device:42', database: 3 });
    const names = (await server.connections()).map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(['redis-expiry']));
  });

  it.each<[what: string, options: RedisOptions]>([
    ['replyMapping', { replyMapping: 'resp3' }],
    ['protocol: 2', { protocol: 2 }],
    ['stringNumbers', { stringNumbers: true }],
    ['autoResubscribe', { autoResubscribe: true }],
    ['retryStrategy: null', { retryStrategy: null } as RedisOptions],
    ['showFriendlyErrorStack', { showFriendlyErrorStack: true }],
    ['autoPipelining', { enableAutoPipelining: true }],
    ['a monitor', { monitor: true }],
    ['readOnly', { readOnly: true }],
    ['reconnectOnError', { reconnectOnError: () => 2 }],
    ['a port as text', { port: undefined }],
  ])('may be such as %s', async (_, options) => {
    const { events, subscriber } = await listen({
      host: server.host,
      ...options,
      port: options.port ?? (`${server.port}` as unknown as number),
    });

    await server.expire('device:1');
    await server.redis.set('device:2', '');
    await server.expire('device:3');

    expect((await events.next(2)).map(({ key }) => key)).toEqual([
      'device:1',
      'device:3',
    ]);
    expect(subscriber.status().nodes).toMatchObject([{ selfTest: 'passed' }]);
  });
});

describe("an ioredis client of the user's", () => {
  /** All of a client that a user could find changed. */
  const stateOf = (client: Redis) => ({
    status: client.status,
    options: { ...client.options },
    listeners: client
      .eventNames()
      .map((name) => [String(name), client.listeners(name)]),
    prefix: client.options.keyPrefix,
  });

  it.each<[what: string, options: RedisOptions]>([
    ['plain', {}],
    ['with a prefix and a database', { keyPrefix: 'app:', db: 3 }],
    ['with replies in the shapes of RESP3', { replyMapping: 'resp3' }],
    ['with autoResubscribe', { autoResubscribe: true }],
  ])('%s is neither changed nor closed', async (_, options) => {
    const client = await connect(server, options);
    client.on('error', () => undefined);
    const before = stateOf(client);
    const { events, close } = await listen(client);
    expect(stateOf(client)).toEqual(before);

    await expire(client, 'device:42');

    expect(await events.one()).toMatchObject({
      key: 'device:42',
      database: options.db ?? 0,
    });
    await close();
    expect(stateOf(client)).toEqual(before);
    await client.set('still', 'usable');
    expect(await client.get('still')).toBe('usable');
    expect(await server.subscriptions()).toEqual({ patterns: 0, channels: [] });
  });

  it('need not be connected, and is not connected then', async () => {
    const client = server.client({ lazyConnect: true });
    const { subscriber, close } = await listen(client);
    await subscriber.ready();

    expect(client.status).toBe('wait');
    await close();
    expect(client.status).toBe('wait');
  });

  it('that was made with lazyConnect, and is connected, is waited for', async () => {
    const client = server.client({ lazyConnect: true });
    onTestFinished(() => client.disconnect());
    await client.connect();
    const { subscriber } = await listen(client);

    expect(subscriber.status().nodes).toMatchObject([{ state: 'listening' }]);
  });

  it('may be in use for subscriptions of its own', async () => {
    const client = await connect(server);
    const heard = collect<string>();
    client.on('message', (channel: string) => heard.add(channel));
    await client.subscribe('news');
    const { events } = await listen(client);

    await server.redis.publish('news', '');
    await server.expire('device:42');

    expect(await heard.one()).toBe('news');
    expect((await events.one()).key).toBe('device:42');
    await server.redis.publish('news', '');
    expect(await heard.one()).toBe('news');
    expect(heard.rest).toEqual([]);
  });

  it('may be closed by the user while the module goes on', async () => {
    const client = await connect(server);
    const { events } = await listen(client);

    await client.quit();
    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });
});

describe('Sentinel', () => {
  it('finds the primary by its name', async () => {
    const sentinel = await RedisServer.start({
      path: server.process.path,
      args: ['--sentinel'],
      config: {
        sentinel: `monitor expiring ${server.host} ${server.port} 1`,
      },
    });
    onTestFinished(() => sentinel.stop());
    const { events, subscriber } = await listen({
      sentinels: [{ host: '127.0.0.1', port: sentinel.port }],
      name: 'expiring',
      db: 3,
    });

    await expire(await connect(server, { db: 3 }), 'device:42');

    expect(await events.one()).toMatchObject({ key: 'device:42', database: 3 });
    expect(subscriber.status().nodes).toMatchObject([
      { address: 'sentinel:expiring', state: 'listening', role: 'primary' },
    ]);
  });
});

describe('a server that is not there', () => {
  it('fails the start after connectTimeout, and says why', async () => {
    const port = await unusedPort();
    const connectTimeout = paced(500);
    const start = performance.now();

    await expect(
      listen({ port, connectTimeout, password: 's3cret' }),
    ).rejects.toMatchObject({
      name: 'RedisExpiryError',
      code: 'CONNECT_FAILED',
      message: expect.stringMatching(
        new RegExp(
          `within ${connectTimeout} ms.*:${port}: .*ECONNREFUSED.*lazyConnect`,
        ),
      ),
    });

    const took = performance.now() - start;
    expect(took).toBeGreaterThanOrEqual(connectTimeout - 10);
    expect(took).toBeLessThan(connectTimeout + paced(3_000));
  });

  it('is waited for no longer where it accepts, and says nothing', async () => {
    const silent = createServer();
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => {
      silent.close();
    });
    const { port } = silent.address() as AddressInfo;

    await expect(listen({ port, connectTimeout: 300 })).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    });
  });

  it('does not fail the start with lazyConnect', async () => {
    const port = await unusedPort();
    const { subscriber, close } = await listen({
      port,
      lazyConnect: true,
      connectTimeout: 300,
    });

    expect(subscriber.status().nodes).toMatchObject([{ state: 'connecting' }]);
    await close();
    expect(subscriber.status().nodes).toMatchObject([{ state: 'closed' }]);
  });

  it('with lazyConnect is listened to as soon as it is there', async () => {
    const late = await RedisServer.start({
      path: server.process.path,
      args: ['--hz', '500'],
    });
    onTestFinished(() => late.stop());
    await late.kill();
    const { events, subscriber } = await listen({
      port: late.port,
      lazyConnect: true,
      retryStrategy: () => 20,
    });

    await late.restart();
    await subscriber.ready();
    const redis = new Redis(late.url);
    onTestFinished(() => redis.disconnect());
    await expire(redis, 'device:42');

    expect((await events.one()).key).toBe('device:42');
  });

  it('is no server of a database that does not exist', async () => {
    await expect(listen(`${server.url}/99`)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringMatching(/DB index is out of range/),
    });
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });
});

async function unusedPort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
