import { createHook } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import {
  Global,
  Inject,
  Injectable,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import {
  compileApp,
  createApp,
  expectNoConnections,
  recording,
  redisExpiry,
} from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import {
  type Deferred,
  deferred,
  eventually,
  turns,
} from '../support/eventually.js';
import { LogBook } from '../support/logs.js';
import { paced } from '../support/paced.js';
import { useServer } from '../support/servers.js';

const server = useServer();

/** What happened, in order. */
let steps: Collector<string>;
/** What handlers wait for before they end. */
let held: Deferred;

beforeEach(() => {
  steps = collect();
  held = deferred();
  onTestFinished(() => held.resolve());
});

class Handlers {
  @OnKeyExpired('device:*')
  async onOffline({ key }: KeyExpiredEvent) {
    steps.add(`begins ${key}`);
    await held.promise;
    steps.add(`ends ${key}`);
  }
}

/** A class that tells of the hooks that are called on it. */
function hooked(name: string) {
  class Hooked
    implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy
  {
    onModuleInit() {
      steps.add(`init ${name}`);
    }
    async onApplicationBootstrap() {
      await turns(3);
      steps.add(`bootstrap ${name}`);
    }
    onModuleDestroy() {
      steps.add(`destroy ${name}`);
    }
    onApplicationShutdown() {
      steps.add(`shutdown ${name}`);
    }
  }
  return Hooked;
}

describe('start', () => {
  it('resolves when it listens: a key that expires right after is handled', async () => {
    const events = collect<KeyExpiredEvent>();
    for (const key of ['device:1', 'device:2', 'device:3']) {
      const { app, close } = await compileApp({
        imports: [redisExpiry(server)],
        providers: [recording(events, 'device:*')],
      });
      await app.init();
      await server.expire(key);

      expect(await events.one()).toMatchObject({ key });
      await close();
    }
  });

  it.each(['local', 'global'])(
    'listens only when everybody else has bootstrapped: %s',
    async (kind) => {
      const listening = collect<boolean>();
      const isListening = async () => {
        const { patterns, channels } = await server.subscriptions();
        listening.add(patterns + channels.length > 0);
      };
      class Feature extends hooked('feature') {
        override async onApplicationBootstrap() {
          await super.onApplicationBootstrap();
          await server.expire('device:early');
          await isListening();
        }
      }
      @Module({ providers: [Feature, Handlers] })
      class FeatureModule extends hooked('feature module') {}
      @Global()
      @Module({ providers: [hooked('global')] })
      class GlobalModule {}
      const expiry = redisExpiry(server, { isGlobal: kind === 'global' });
      @Module({
        imports: [expiry, FeatureModule, GlobalModule],
        providers: [hooked('root')],
      })
      class Root extends hooked('root module') {
        override async onApplicationBootstrap() {
          await super.onApplicationBootstrap();
          await isListening();
        }
      }
      held.resolve();
      await createApp({ imports: [Root] });
      expect(listening.all).toEqual([false, false]);
      const before = [...steps.all];

      await server.expire('device:1');
      await eventually(() => expect(steps.all).toContain('ends device:1'));

      expect(
        before.filter((step) => step.startsWith('bootstrap')),
      ).toHaveLength(5);
      expect(steps.all.slice(before.length)).toEqual([
        'begins device:1',
        'ends device:1',
      ]);
    },
  );

  it('fails with what a hook of the application throws, and leaves nothing', async () => {
    class Broken {
      onApplicationBootstrap() {
        throw new Error('broken');
      }
    }
    await expect(
      createApp({
        imports: [redisExpiry(server)],
        providers: [Broken, Handlers],
      }),
    ).rejects.toThrow('broken');

    await expect(expectNoConnections()).resolves.toBeUndefined();
  });

  it('listens in an application that listens to HTTP', async () => {
    const logs = new LogBook();
    const module = await Test.createTestingModule({
      imports: [redisExpiry(server)],
      providers: [Handlers],
    })
      .setLogger(logs)
      .compile();
    const app = module.createNestApplication();
    await app.listen(0, '127.0.0.1');
    held.resolve();

    await server.expire('device:1');
    await steps.next(2);
    await app.close();

    expect(steps.all).toEqual(['begins device:1', 'ends device:1']);
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });
});

describe('an application that is started more than once', () => {
  // As Nest does it with microservices that are connected to an application: each calls the hooks.
  it.each(['at the same time', 'one after the other'])(
    'maps and runs its handlers once: %s',
    async (how) => {
      const { app, logs, close } = await compileApp({
        imports: [redisExpiry(server)],
        providers: [Handlers],
      });
      const http = app.createNestApplication();
      if (how === 'at the same time')
        await Promise.all([app.init(), http.listen(0, '127.0.0.1')]);
      else {
        await app.init();
        await http.init();
        await http.listen(0, '127.0.0.1');
      }
      held.resolve();

      await server.expire('device:1', 'device:2');
      await steps.next(4);
      await http.close();
      await close();

      expect(logs.texts('log', 'Mapped {')).toHaveLength(1);
      expect(steps.all.toSorted()).toEqual([
        'begins device:1',
        'begins device:2',
        'ends device:1',
        'ends device:2',
      ]);
    },
  );
});

describe('close', () => {
  it('waits for handlers in flight before anything else is destroyed', async () => {
    @Module({ providers: [Handlers, hooked('feature')] })
    class FeatureModule extends hooked('feature module') {}
    @Global()
    @Module({ providers: [hooked('global')] })
    class GlobalModule {}
    @Module({
      imports: [GlobalModule, FeatureModule, redisExpiry(server)],
      providers: [hooked('root')],
    })
    class Root extends hooked('root module') {}
    const { close } = await createApp({ imports: [Root] });
    await server.expire('device:1');
    await eventually(() => expect(steps.all).toContain('begins device:1'));
    const before = steps.all.length;

    const closing = close();
    await delay(50);
    expect(steps.all.slice(before)).toEqual([]);
    held.resolve();
    await closing;

    expect(steps.all[before]).toBe('ends device:1');
    expect(
      steps.all.filter((step) => step.startsWith('destroy')).toSorted(),
    ).toEqual([
      'destroy feature',
      'destroy feature module',
      'destroy global',
      'destroy root',
      'destroy root module',
    ]);
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });

  it('runs what had been heard, and takes nothing more', async () => {
    const { close, subscriber } = await createApp({
      imports: [redisExpiry(server, { concurrency: 1 })],
      providers: [Handlers],
    });
    await server.expire('device:1', 'device:2');
    await eventually(() => expect(subscriber.status().queued).toBe(1));

    const closing = close();
    await turns();
    await server.expire('device:3');
    held.resolve();
    await closing;

    expect(steps.all).toEqual([
      'begins device:1',
      'ends device:1',
      'begins device:2',
      'ends device:2',
    ]);
    expect(subscriber.status()).toMatchObject({
      counters: { received: 2, handled: 2 },
      queued: 0,
      running: 0,
    });
  });

  it('lets handlers use what they need until they end', async () => {
    class Store implements OnModuleDestroy, OnApplicationShutdown {
      open = true;
      onModuleDestroy() {
        this.open = false;
      }
      onApplicationShutdown() {
        this.open = false;
      }
    }
    @Injectable()
    class UsingStore {
      constructor(@Inject(Store) private readonly store: Store) {}

      @OnKeyExpired('job:*')
      async run() {
        steps.add('begins');
        await held.promise;
        steps.add(`the store is ${this.store.open ? 'open' : 'closed'}`);
      }
    }
    const { close } = await createApp({
      imports: [redisExpiry(server)],
      providers: [Store, UsingStore],
    });
    await server.expire('job:1');
    await steps.one();

    const closing = close();
    await turns(5);
    held.resolve();
    await closing;

    expect(steps.all).toEqual(['begins', 'the store is open']);
  });

  it('gives up after shutdownTimeout, and says what was lost', async () => {
    const { close, logs, subscriber } = await createApp({
      imports: [redisExpiry(server, { shutdownTimeout: 100, concurrency: 1 })],
      providers: [Handlers, hooked('root')],
    });
    await server.expire('device:1', 'device:2', 'device:3');
    await eventually(() => expect(subscriber.status().queued).toBe(2));
    const start = performance.now();

    await close();

    const took = performance.now() - start;
    expect(took).toBeGreaterThanOrEqual(95);
    // By itself it is 10 s.
    expect(took).toBeLessThan(paced(5_000));
    expect(logs.texts('warn', '100 ms')).toEqual([
      expect.stringMatching(/1 event.* in flight, 2 waiting/),
    ]);
    expect(steps.all).toContain('destroy root');
    expect(subscriber.status().counters).toMatchObject({ dropped: 2 });
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });

  it('does not wait at all with shutdownTimeout: 0', async () => {
    const { close } = await createApp({
      imports: [redisExpiry(server, { shutdownTimeout: 0 })],
      providers: [Handlers],
    });
    await server.expire('device:1');
    await steps.one();
    const start = performance.now();

    await close();

    // By itself it is 10 s.
    expect(performance.now() - start).toBeLessThan(paced(5_000));
    await expect(expectNoConnections()).resolves.toBeUndefined();
  });

  it('counts what handlers do that end after it gave up', async () => {
    const { close, subscriber } = await createApp({
      imports: [redisExpiry(server, { shutdownTimeout: 10 })],
      providers: [Handlers],
    });
    await server.expire('device:1');
    await steps.one();
    await close();
    expect(subscriber.status()).toMatchObject({ running: 1 });

    held.resolve();

    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        running: 0,
        counters: { received: 1, handled: 1 },
      }),
    );
  });

  it('leaves no connection, no timer and no subscription', async () => {
    const timers = new Map<number, NodeJS.Timeout>();
    const hook = createHook({
      init(id, type, _trigger, resource) {
        const isOurs = /\/(lib|ioredis)\//.test(String(new Error('by').stack));
        if (type === 'Timeout' && isOurs)
          timers.set(id, resource as NodeJS.Timeout);
      },
      destroy: (id) => timers.delete(id),
    }).enable();
    onTestFinished(() => {
      hook.disable();
    });
    const { close } = await createApp({
      imports: [redisExpiry(server)],
      providers: [recording(collect(), 'device:*')],
    });
    await server.expire('device:1');
    expect((await server.connections()).length).toBeGreaterThan(0);
    expect(timers.size).toBeGreaterThan(0);

    await close();

    await expect(expectNoConnections()).resolves.toBeUndefined();
    expect(await server.subscriptions()).toEqual({ patterns: 0, channels: [] });
    await eventually(() =>
      // Such as keep the process from ending.
      expect([...timers.values()].filter((t) => t.hasRef())).toEqual([]),
    );
  });

  it.each([
    ['was not started', false],
    ['failed to start', true],
  ])('of an application that %s does nothing', async (_, fails) => {
    const { app, close } = await compileApp({
      imports: [
        redisExpiry(
          server,
          fails ? { connection: { port: 1, connectTimeout: 100 } } : {},
        ),
      ],
      providers: [Handlers],
    });
    const started = fails ? app.init().then(String, String) : 'not started';
    expect(await started).toMatch(fails ? /was not reached/ : /not started/);

    await expect(close()).resolves.toBeUndefined();
  });

  it('is possible while a start is under way', async () => {
    const { app, close } = await compileApp({
      imports: [
        redisExpiry(server, { connection: { port: 1, connectTimeout: 300 } }),
      ],
      providers: [Handlers],
    });
    const starting = app.init().catch((error: unknown) => error);

    await close();

    expect(await starting).toMatchObject({ name: 'RedisExpiryError' });
  });

  it('may be followed by another application in the same process', async () => {
    held.resolve();
    for (const round of [1, 2, 3]) {
      const { close } = await createApp({
        imports: [redisExpiry(server)],
        providers: [Handlers],
      });
      await server.expire(`device:${round}`);
      expect(await steps.next(2)).toEqual([
        `begins device:${round}`,
        `ends device:${round}`,
      ]);
      await close();
    }
  });

  it('ends what was subscribed to before the start', async () => {
    @Injectable()
    class Early {
      constructor(
        @Inject(RedisExpirySubscriber)
        private readonly subscriber: RedisExpirySubscriber,
      ) {}

      async onModuleInit() {
        await this.subscriber.subscribe('early:*', ({ key }) => steps.add(key));
        await server.expire('early:1');
      }
    }
    const { close } = await createApp({
      imports: [redisExpiry(server)],
      providers: [Early],
    });
    expect(await steps.one()).toBe('early:1');

    await close();

    expect(await server.subscriptions()).toEqual({ patterns: 0, channels: [] });
  });
});
