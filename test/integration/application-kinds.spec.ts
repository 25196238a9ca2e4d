/** Handlers run in every kind of application that Nest makes, and its shutdown hooks end them. */
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import {
  type INestApplicationContext,
  Injectable,
  Logger,
  Module,
} from '@nestjs/common';
import { LazyModuleLoader, NestFactory, repl } from '@nestjs/core';
import {
  type CustomTransportStrategy,
  Server,
  Transport,
} from '@nestjs/microservices';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import { expectNoConnections, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { type Deferred, deferred } from '../support/eventually.js';
import { LogBook } from '../support/logs.js';
import { useServer } from '../support/servers.js';

const server = useServer();

let ran: Collector<string>;
/** What handlers of `slow:*` wait for. */
let held: Deferred;

beforeEach(() => {
  ran = collect();
  held = deferred();
});

afterEach(async () => {
  held.resolve();
  Logger.overrideLogger(false);
  await expectNoConnections();
});

@Injectable()
class Devices {
  @OnKeyExpired('device:*')
  onOffline({ key }: KeyExpiredEvent): void {
    ran.add(key);
  }

  @OnKeyExpired('slow:*')
  async onSlow({ key }: KeyExpiredEvent): Promise<void> {
    ran.add(`${key} began`);
    await held.promise;
    ran.add(`${key} ended`);
  }
}

/** An application's module; a new class each time, as Nest hangs things on it. */
function appModule(): new () => object {
  @Module({ imports: [redisExpiry(server)], providers: [Devices] })
  class AppModule {}
  return AppModule;
}

/** A microservice's transport that goes nowhere. */
class Nowhere extends Server implements CustomTransportStrategy {
  override on(): void {}
  override unwrap(): never {
    throw new Error('there is nothing');
  }
  listen(callback: () => void): void {
    callback();
  }
  close(): void {
    ran.add('transport closed');
  }
}

type Kind = [
  kind: string,
  start: (options: {
    logger: LogBook;
  }) => Promise<Pick<INestApplicationContext, 'get' | 'close'>>,
];

const KINDS: Kind[] = [
  [
    'an application context',
    (options) => NestFactory.createApplicationContext(appModule(), options),
  ],
  [
    'a web application',
    async (options) => {
      const app = await NestFactory.create(appModule(), options);
      await app.listen(0, '127.0.0.1');
      return app;
    },
  ],
  [
    'a microservice',
    async (options) => {
      const app = await NestFactory.createMicroservice(appModule(), {
        ...options,
        strategy: new Nowhere(),
      });
      await app.listen();
      return app;
    },
  ],
  [
    'a microservice by TCP',
    async (options) => {
      const app = await NestFactory.createMicroservice(appModule(), {
        ...options,
        transport: Transport.TCP,
        options: { host: '127.0.0.1', port: 0 },
      });
      await app.listen();
      return app;
    },
  ],
  ...[false, true].map((inheritAppConfig): Kind => [
    `a hybrid application, inheritAppConfig: ${inheritAppConfig}`,
    async (options) => {
      const app = await NestFactory.create(appModule(), options);
      app.connectMicroservice(
        { strategy: new Nowhere() },
        { inheritAppConfig },
      );
      await app.startAllMicroservices();
      await app.listen(0, '127.0.0.1');
      return app;
    },
  ]),
];

describe.each(KINDS)('%s', (_, start) => {
  it('has each handler run once, and at shutdown waits for what is in flight', async () => {
    const logger = new LogBook();
    const app = await start({ logger });
    await server.expire('device:1', 'device:2', 'slow:1');
    expect((await ran.next(3)).toSorted()).toEqual([
      'device:1',
      'device:2',
      'slow:1 began',
    ]);
    expect(logger.texts('log', 'Mapped {')).toHaveLength(2);

    const closing = app.close();
    await vi.waitUntil(async () => {
      const { patterns, channels } = await server.subscriptions();
      return patterns + channels.length === 0;
    });
    expect(ran.all).not.toContain('slow:1 ended');
    held.resolve();
    await closing;

    expect(ran.all).toContain('slow:1 ended');
    expect(ran.all.filter((text) => text.startsWith('device'))).toHaveLength(2);
    expect(logger.texts('error')).toEqual([]);
  });

  it('has handlers of lazily loaded modules run', async () => {
    @Injectable()
    class Lazy {
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent): void {
        ran.add(`lazy ${key}`);
      }
    }
    @Module({ providers: [Lazy] })
    class LazyModule {}
    const app = await start({ logger: new LogBook() });

    await app.get(LazyModuleLoader).load(() => LazyModule);
    await server.expire('device:1');

    expect((await ran.next(2)).toSorted()).toEqual([
      'device:1',
      'lazy device:1',
    ]);
    await app.close();
  });
});

describe('repl()', () => {
  it('has handlers run, and ends them with the session', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const session = await repl(appModule(), { input, output }).finally(() =>
      write.mockRestore(),
    );
    await server.expire('device:1');
    expect(await ran.one()).toBe('device:1');

    const { get } = session.context as {
      get: (token: unknown) => RedisExpirySubscriber;
    };
    expect(get(RedisExpirySubscriber).status().counters).toMatchObject({
      handled: 1,
    });
    const exited = once(session, 'exit');
    session.close();
    await exited;
  });
});

describe('an application with shutdown hooks', () => {
  it('is ended by a signal', async () => {
    const app = await NestFactory.createApplicationContext(appModule(), {
      logger: new LogBook(),
    });
    app.enableShutdownHooks(['SIGUSR2']);
    // The hooks send the signal once more when they are done, which would end this process.
    const killed = new Promise<void>((resolve) => {
      const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
        kill.mockRestore();
        resolve();
        return true;
      });
    });
    await server.expire('device:1');
    expect(await ran.one()).toBe('device:1');

    process.emit('SIGUSR2', 'SIGUSR2');
    await killed;
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });
});
