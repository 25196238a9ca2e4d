import { Redis, type RedisOptions } from 'ioredis';
import { type TestContext, expect, inject, vi } from 'vitest';
import { PATIENCE_MS } from '../patience.js';
import { RedisServer } from '../redis/redis-server.mjs';
import { ExpiryApp, type ExpiryAppOptions } from './expiry-app.js';
import { TcpProxy, type TcpProxyOptions } from './tcp-proxy.js';

type ServerOptions = NonNullable<Parameters<typeof RedisServer.start>[0]>;

/** A connection as the server lists it. */
export interface ListedClient {
  readonly id: string;
  /** The port it comes from. */
  readonly port: number;
  readonly subscribed: boolean;
}

const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));
process.on('uncaughtException', (error) => unhandled.push(error));

/** What one test starts, all of which ends with it. */
export class FaultBed {
  readonly #cleanups: (() => unknown)[] = [];
  readonly #unhandledBefore = unhandled.length;

  /** Rejections and exceptions that nobody handled since the test began. */
  get unhandled(): unknown[] {
    return unhandled.slice(this.#unhandledBefore);
  }

  async server(options: ServerOptions = {}): Promise<RedisServer> {
    const server = await RedisServer.start({
      path: inject('redisServerPath'),
      ...options,
    });
    this.#cleanups.push(() => server.stop());
    return server;
  }

  async proxy(
    server: RedisServer,
    options?: TcpProxyOptions,
  ): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(server.port, options);
    this.#cleanups.push(() => proxy.close());
    return proxy;
  }

  /** A client of the test's own; its commands wait while the server is away. */
  admin(server: RedisServer, options: RedisOptions = {}): Redis {
    const redis = new Redis(server.port, '127.0.0.1', {
      maxRetriesPerRequest: null,
      retryStrategy: () => 20,
      connectionName: 'admin',
      ...options,
    });
    redis.on('error', () => undefined);
    this.#cleanups.push(() => redis.disconnect());
    return redis;
  }

  async app(options: ExpiryAppOptions): Promise<ExpiryApp> {
    const app = await ExpiryApp.start(options);
    this.#cleanups.push(async () => {
      await app.close();
      app.forgetLog();
    });
    return app;
  }

  defer(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async clean(): Promise<void> {
    const failures: unknown[] = [];
    // Last come, first gone: an application ends before its server.
    for (const cleanup of this.#cleanups.splice(0).toReversed()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures);
  }
}

/** The bed of a test; the test fails also when something was left unhandled while it ran. */
export function bedOf({ onTestFinished, task }: TestContext): FaultBed {
  const bed = new FaultBed();
  onTestFinished(async () => {
    await bed.clean();
    expect(bed.unhandled, `left unhandled in ${task.name}`).toEqual([]);
  });
  return bed;
}

/** Resolves as soon as the assertion holds; rejects with its last failure when it does not in time. */
export function eventually<T>(
  assertion: () => T | Promise<T>,
  timeout = PATIENCE_MS,
): Promise<T> {
  return vi.waitFor(assertion, { timeout, interval: 10 });
}

/** Keys that nothing will ever remove. */
export async function immortalKeys(admin: Redis): Promise<string[]> {
  const keys = await admin.keys('*');
  const ttls = await Promise.all(keys.map((key) => admin.pttl(key)));
  return keys.filter((_, i) => ttls[i] === -1);
}

/** Kills a connection at the server. */
export async function killClient(admin: Redis, id: string): Promise<void> {
  await admin.client('KILL', 'ID', id);
}

/** The connections of an application, as its server lists them. */
export async function clientsOf(
  admin: Redis,
  name: string,
): Promise<ListedClient[]> {
  const list = (await admin.client('LIST')) as string;
  return list
    .split('\n')
    .map((line) => new Map(line.split(' ').map((pair) => splitPair(pair))))
    .filter((fields) => fields.get('name')?.startsWith(name))
    .map((fields) => ({
      id: fields.get('id')!,
      port: Number(fields.get('addr')!.split(':').at(-1)),
      subscribed: fields.get('sub') !== '0' || fields.get('psub') !== '0',
    }));
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
}
