import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type Cluster, Redis, type RedisOptions } from 'ioredis';
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  inject,
  onTestFinished,
} from 'vitest';
import { RedisServer } from './redis/redis-server.mjs';

type ServerOptions = NonNullable<Parameters<typeof RedisServer.start>[0]>;

export interface TestServerOptions extends ServerOptions {
  /** How the raw clients log in, where the server wants that. */
  login?: Pick<RedisOptions, 'username' | 'password' | 'tls'>;
}

/** What CLIENT LIST says of a connection. */
export type Connection = Readonly<
  Record<'id' | 'name' | 'db' | 'cmd' | 'flags', string>
>;

/** How the tests' own connections are called: all others are the module's. */
const OWN_NAME = 'test';

/** A real server with a raw client. */
export class TestServer {
  static readonly running = new Set<TestServer>();
  #server: RedisServer | undefined;
  #redis: Redis | undefined;

  constructor(private readonly options: TestServerOptions = {}) {}

  /** A client that is connected as long as the server runs, and bound to nothing of the module's. */
  get redis(): Redis {
    return this.#redis!;
  }

  get url(): string {
    return this.process.url;
  }

  get host(): string {
    return '127.0.0.1';
  }

  get port(): number {
    return this.process.port;
  }

  /** As the module names it. */
  get address(): string {
    return this.process.unixSocket ?? `${this.host}:${this.port}`;
  }

  get login(): NonNullable<TestServerOptions['login']> {
    return this.options.login ?? {};
  }

  get process(): RedisServer {
    return this.#server!;
  }

  async start(): Promise<this> {
    const { login, args = [], ...options } = this.options;
    // Redis looks for expired keys 100 times a second and not 10: the same events, sooner.
    this.#server = await RedisServer.start({
      path: inject('redisServerPath'),
      ...options,
      args: ['--hz', '100', ...args],
    });
    // Soon back after a restart, and when a new primary closes the connections that it had.
    const retrying = {
      retryStrategy: (times: number) => Math.min(5 * times, 50),
      maxRetriesPerRequest: 200,
    };
    this.#redis = this.client({ ...retrying, ...login });
    await once(this.#redis, 'ready');
    TestServer.running.add(this);
    return this;
  }

  async stop(): Promise<void> {
    TestServer.running.delete(this);
    this.#redis?.disconnect();
    await this.#server?.stop();
  }

  /** Crashes it. The directory and the port stay for `restart()`. */
  async kill(): Promise<void> {
    TestServer.running.delete(this);
    await this.process.kill();
  }

  /** The same server again, with an empty memory. */
  async restart(): Promise<void> {
    await this.process.restart();
    await this.redis.ping();
    TestServer.running.add(this);
  }

  /** As after a start: no keys, and the flags and the users that it was started with. */
  async reset(): Promise<void> {
    await this.redis
      .pipeline()
      .flushall()
      .config('SET', 'maxmemory', '0')
      .config(
        'SET',
        'notify-keyspace-events',
        this.#given('notify-keyspace-events'),
      )
      .config('RESETSTAT')
      .exec();
    if (this.#given('aclfile')) {
      await this.redis.acl('LOAD');
      return;
    }
    const users = (await this.redis.acl('USERS')) as string[];
    for (const user of users)
      if (user !== 'default') await this.redis.acl('DELUSER', user);
  }

  /** What the server was given on its command line. */
  #given(name: string): string {
    const { args = [] } = this.options;
    const at = args.lastIndexOf(`--${name}`);
    return at < 0 ? '' : args[at + 1]!;
  }

  /** A client that begins to connect. */
  client(options: RedisOptions = {}): Redis {
    const { unixSocket } = this.process;
    const client = new Redis({
      ...(unixSocket
        ? { path: unixSocket }
        : { host: this.host, port: this.port }),
      connectionName: OWN_NAME,
      ...this.options.login,
      ...options,
    });
    client.on('error', () => undefined);
    return client;
  }

  /** Lets keys expire, one after the other. Redis has announced them all when it resolves. */
  expire(...keys: (string | Buffer)[]): Promise<void> {
    return expire(this.redis, ...keys);
  }

  async flags(): Promise<string> {
    const [, value] = (await this.redis.config(
      'GET',
      'notify-keyspace-events',
    )) as [string, string];
    return value;
  }

  async setFlags(flags: string): Promise<void> {
    await this.redis.config('SET', 'notify-keyspace-events', flags);
  }

  /** The connections that are neither the tests' own nor a Sentinel's. */
  async connections(): Promise<Connection[]> {
    const list = (await this.redis.client('LIST')) as string;
    return list
      .trimEnd()
      .split('\n')
      .map(
        (line) =>
          Object.fromEntries(
            line.split(' ').map((field) => {
              const at = field.indexOf('=');
              return [field.slice(0, at), field.slice(at + 1)];
            }),
          ) as Connection,
      )
      .filter(
        ({ name, flags }) =>
          // Those of Sentinels, of the server's primary and of its replicas are its own.
          name !== OWN_NAME && !/^sentinel-/.test(name) && !/[SM]/.test(flags),
      );
  }

  /** What is subscribed to at the server, whoever did it. */
  async subscriptions(): Promise<{ patterns: number; channels: string[] }> {
    const [patterns, channels] = await Promise.all([
      this.redis.pubsub('NUMPAT'),
      this.redis.pubsub('CHANNELS'),
    ]);
    return {
      patterns: Number(patterns),
      channels: (channels as string[]).toSorted(),
    };
  }

  /** How often each command was called since the last reset. */
  async commandCalls(): Promise<Record<string, number>> {
    const info = await this.redis.info('commandstats');
    const calls = info.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm);
    return Object.fromEntries(
      Array.from(calls, ([, name, count]) => [name!, Number(count)]),
    );
  }
}

/** A server for the tests of a file or of a `describe`, as new before each of them. */
export function useServer(options?: TestServerOptions): TestServer {
  const server = new TestServer(options);
  beforeAll(async () => {
    await server.start();
  });
  beforeEach(() => server.reset());
  afterAll(() => server.stop());
  return server;
}

/** Runs the same tests on every server program that the run is about: see `REDIS_VARIANTS`. */
export function onEveryServer(
  title: string,
  tests: (server: TestServer) => void,
  options: TestServerOptions = {},
): void {
  describe.each(inject('redisServers'))(`${title} on $name`, ({ path }) => {
    tests(useServer({ ...options, path }));
  });
}

/** A raw client that is connected, and closed when the test is over. */
export async function connect(
  server: TestServer,
  options?: RedisOptions,
): Promise<Redis> {
  const client = server.client(options);
  onTestFinished(() => client.disconnect());
  await once(client, 'ready');
  return client;
}

/** As `TestServer.expire`, through any client. */
export async function expire(
  redis: Redis | Cluster,
  ...keys: (string | Buffer)[]
): Promise<void> {
  for (const key of keys) {
    await redis.set(key, '', 'PX', 1);
    // To ask for a key that is due makes Redis remove and announce it.
    while (await redis.exists(key)) await delay(1);
  }
}
