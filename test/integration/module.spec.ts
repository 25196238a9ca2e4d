import { Inject, Injectable, Module } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
  type RedisExpiryModuleAsyncOptions,
  type RedisExpiryModuleOptions,
  type RedisExpiryOptionsFactory,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import {
  compileApp,
  createApp,
  expectNoConnections,
  plain,
  recording,
  redisExpiry,
} from '../support/app.js';
import { collect } from '../support/collect.js';
import { useServer } from '../support/servers.js';

const server = useServer();

/** Where a user's configuration would come from. */
@Injectable()
class Config {
  readonly name = 'from-config';
}

@Module({ providers: [Config], exports: [Config] })
class ConfigModule {}

@Injectable()
class OptionsFactory implements RedisExpiryOptionsFactory {
  constructor(@Inject(Config) private readonly config: Config) {}

  createRedisExpiryOptions(): Promise<RedisExpiryModuleOptions> {
    const { name } = this.config;
    return Promise.resolve(plain({ connection: server.url, name }));
  }
}

@Module({
  imports: [ConfigModule],
  providers: [OptionsFactory],
  exports: [OptionsFactory],
})
class OptionsModule {}

describe('RedisExpiryModule.forRoot', () => {
  it('runs handlers, with the name that it was given', async () => {
    const events = collect<KeyExpiredEvent>();
    await createApp({
      imports: [redisExpiry(server, { name: 'my-app' })],
      providers: [recording(events, 'device:*')],
    });

    await server.expire('device:42');

    expect(await events.one()).toMatchObject({ key: 'device:42' });
    const names = (await server.connections()).map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(['my-app']));
  });

  it('names its connections redis-expiry by default, and logs by that name', async () => {
    const { logs } = await createApp({
      imports: [redisExpiry(server)],
      providers: [recording(collect(), 'device:*')],
    });

    const names = (await server.connections()).map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(['redis-expiry']));
    expect(
      logs.lines.filter(({ rest }) => rest.includes('redis-expiry')),
    ).not.toEqual([]);
  });

  it('takes no more than two connections', async () => {
    await createApp({
      imports: [redisExpiry(server)],
      providers: [recording(collect(), 'a:*', 'b:*', 'c')],
    });

    expect((await server.connections()).length).toBeLessThanOrEqual(2);
  });

  it('starts without any handler', async () => {
    const { subscriber } = await createApp({ imports: [redisExpiry(server)] });

    expect(subscriber.status().nodes).toMatchObject([{ state: 'listening' }]);
  });

  it('connects to nothing before the application starts', async () => {
    const { close } = await compileApp({
      imports: [redisExpiry(server)],
      providers: [recording(collect(), 'device:*')],
    });

    expect(await server.connections()).toEqual([]);
    await close();
    expect(await server.connections()).toEqual([]);
  });

  it('needs no options, and does not even look for a server before the start', async () => {
    const { app, close } = await compileApp({
      imports: [RedisExpiryModule.forRoot()],
      providers: [recording(collect(), 'device:*')],
    });

    const subscriber = app.get(RedisExpirySubscriber, { strict: false });
    expect(subscriber.status()).toMatchObject({ nodes: [], queued: 0 });
    await close();
  });

  it('in two applications has both run their handlers on every expiry', async () => {
    const instances = [collect<KeyExpiredEvent>(), collect<KeyExpiredEvent>()];
    for (const events of instances) {
      await createApp({
        imports: [redisExpiry(server)],
        providers: [recording(events, 'device:*')],
      });
    }

    await server.expire('device:1', 'device:2');

    for (const events of instances) {
      expect((await events.next(2)).map(({ key }) => key)).toEqual([
        'device:1',
        'device:2',
      ]);
    }
  });

  it('accepts being imported twice as one', async () => {
    const events = collect<KeyExpiredEvent>();
    const expiry = redisExpiry(server);
    @Module({ imports: [expiry], providers: [recording(events, 'device:*')] })
    class Devices {}
    @Module({ imports: [expiry] })
    class Others {}
    const { subscriber } = await createApp({
      imports: [Devices, Others, expiry],
    });

    await server.expire('device:1', 'device:2');

    expect((await events.next(2)).map(({ key }) => key)).toEqual([
      'device:1',
      'device:2',
    ]);
    expect(subscriber.status().counters.received).toBe(2);
    expect((await server.connections()).length).toBeLessThanOrEqual(2);
  });
});

describe('RedisExpiryModule.forRootAsync', () => {
  it.each<[form: string, options: RedisExpiryModuleAsyncOptions]>([
    [
      'useFactory',
      { useFactory: () => plain({ connection: server.url, name: 'plain' }) },
    ],
    [
      'useFactory with inject and imports',
      {
        imports: [ConfigModule],
        inject: [Config],
        useFactory: async ({ name }: Config) => {
          await Promise.resolve();
          return plain({ connection: server.url, name });
        },
      },
    ],
    ['useClass', { imports: [ConfigModule], useClass: OptionsFactory }],
    ['useExisting', { imports: [OptionsModule], useExisting: OptionsFactory }],
  ])('takes %s', async (form, options) => {
    const events = collect<KeyExpiredEvent>();
    await createApp({
      imports: [RedisExpiryModule.forRootAsync(options)],
      providers: [recording(events, 'device:*')],
    });

    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
    const [connection] = await server.connections();
    expect(connection!.name).toBe(
      form === 'useFactory' ? 'plain' : 'from-config',
    );
  });

  it('rejects with what the factory rejects with', async () => {
    const error = new Error('no configuration');
    await expect(
      compileApp({
        imports: [
          RedisExpiryModule.forRootAsync({
            useFactory: () => Promise.reject(error),
          }),
        ],
      }),
    ).rejects.toBe(error);
  });
});

describe('isGlobal', () => {
  @Injectable()
  class Service {
    // By its type, as users inject it.
    constructor(readonly subscriber: RedisExpirySubscriber) {}
  }
  @Module({ providers: [Service] })
  class Feature {}

  it.each([
    ['forRoot', () => redisExpiry(server, { isGlobal: true })],
    [
      'forRootAsync',
      () =>
        RedisExpiryModule.forRootAsync({
          isGlobal: true,
          useFactory: () => plain({ connection: server.url }),
        }),
    ],
  ])('makes the subscriber injectable everywhere: %s', async (_, module) => {
    const { app, subscriber } = await createApp({
      imports: [module(), Feature],
    });

    expect(app.get(Service, { strict: false }).subscriber).toBe(subscriber);
  });

  it.each([
    ['forRoot', () => redisExpiry(server)],
    ['forRoot with false', () => redisExpiry(server, { isGlobal: false })],
    [
      'forRootAsync',
      () =>
        RedisExpiryModule.forRootAsync({
          useFactory: () => plain({ connection: server.url }),
        }),
    ],
  ])('is off by default: %s', async (_, module) => {
    await expect(compileApp({ imports: [module(), Feature] })).rejects.toThrow(
      /can't resolve dependencies of the Service/,
    );
  });

  it('is not needed for handlers', async () => {
    const events = collect<KeyExpiredEvent>();
    @Module({ providers: [recording(events, 'device:*')] })
    class Devices {}
    await createApp({ imports: [redisExpiry(server), Devices] });

    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
  });
});

describe('bad options', () => {
  const refused: [options: object, code: string][] = [
    [{ connection: 'localhost' }, 'INVALID_OPTION_CONNECTION'],
    [{ connection: { nodes: [] } }, 'INVALID_OPTION_CONNECTION_NODES'],
    [{ connection: { port: 'x' } }, 'INVALID_OPTION_CONNECTION_PORT'],
    [{ group: '' }, 'INVALID_OPTION_GROUP'],
    [{ group: 'mailers', punctual: false }, 'INVALID_OPTION_PUNCTUAL'],
    [{ punctual: 'yes' }, 'INVALID_OPTION_PUNCTUAL'],
    [{ retry: { attempts: 0 } }, 'INVALID_OPTION_RETRY_ATTEMPTS'],
    [{ leaseDuration: 1 }, 'INVALID_OPTION_LEASE_DURATION'],
    [{ namespace: '' }, 'INVALID_OPTION_NAMESPACE'],
    [{ notifications: 'on' }, 'INVALID_OPTION_NOTIFICATIONS'],
    [{ concurrency: 0 }, 'INVALID_OPTION_CONCURRENCY'],
    [{ queueLimit: 0 }, 'INVALID_OPTION_QUEUE_LIMIT'],
    [{ shutdownTimeout: -1 }, 'INVALID_OPTION_SHUTDOWN_TIMEOUT'],
    [{ name: '' }, 'INVALID_OPTION_NAME'],
    [{ patterns: ['*'] }, 'INVALID_OPTION_PATTERNS'],
  ];

  it.each(refused)('reject the application: %j', async (options, code) => {
    const error = expect.objectContaining({ name: 'RedisExpiryError', code });
    const given = plain(options) as RedisExpiryModuleOptions;
    const modules = [
      RedisExpiryModule.forRoot(given),
      RedisExpiryModule.forRootAsync({ useFactory: () => given }),
      RedisExpiryModule.forRootAsync({
        useFactory: () => Promise.resolve(given),
      }),
    ];
    for (const module of modules)
      await expect(compileApp({ imports: [module] })).rejects.toEqual(error);
  });

  it.each([undefined, null, 'redis://127.0.0.1:1', []])(
    'reject the application when the factory returns %j',
    async (options) => {
      const module = RedisExpiryModule.forRootAsync({
        useFactory: () => options as never,
      });

      await expect(compileApp({ imports: [module] })).rejects.toMatchObject({
        name: 'RedisExpiryError',
        code: 'INVALID_OPTION_OPTIONS',
      });
    },
  );

  it.each([{}, undefined, { inject: [Config] }])(
    'are refused at once where %j names no factory',
    (options) => {
      expect(() => RedisExpiryModule.forRootAsync(options as never)).toThrow(
        expect.objectContaining({
          name: 'RedisExpiryError',
          code: 'INVALID_OPTION_USE_FACTORY',
          message: expect.stringMatching(/useFactory.*useClass.*useExisting/),
        }),
      );
    },
  );

  it('leave no connection', async () => {
    await compileApp({ imports: [redisExpiry(server, { name: '' })] }).catch(
      () => undefined,
    );

    await expect(expectNoConnections()).resolves.toBeUndefined();
  });
});

describe('without RedisExpiryModule', () => {
  it('decorated methods are methods as any other', async () => {
    class Devices {
      @OnKeyExpired('device:*')
      onOffline() {
        return 'called';
      }
    }
    const { app } = await createApp({ providers: [Devices] });

    expect(app.get(Devices).onOffline()).toBe('called');
  });
});
