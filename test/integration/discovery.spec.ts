import {
  Controller,
  Inject,
  Injectable,
  Module,
  type Provider,
  Scope,
} from '@nestjs/common';
import {
  type ContextId,
  ContextIdFactory,
  type ContextIdResolver,
  type ContextIdStrategy,
  LazyModuleLoader,
  REQUEST,
} from '@nestjs/core';
import { of } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type KeyExpiredEvent, OnKeyExpired } from '../../lib/index.js';
import { createApp, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { useServer } from '../support/servers.js';

const server = useServer();

/** What ran, in the words of the handler that did. */
let ran: Collector<string>;

beforeEach(() => {
  ran = collect();
});

/** An application on the server, and after it the lines by which it tells of its handlers. */
async function create(metadata: Parameters<typeof createApp>[0]) {
  const app = await createApp({
    ...metadata,
    imports: [...(metadata.imports ?? []), redisExpiry(server)],
  });
  return {
    ...app,
    subscriber: app.subscriber,
    mapped: app.logs.texts('log', 'Mapped {'),
  };
}

/** Everything that ran because of these keys, with one more at the end to be sure of that. */
async function runsOf(...keys: string[]): Promise<string[]> {
  await server.expire(...keys, 'end');
  await eventually(() => expect(ran.all).toContain('end'));
  return ran.all.filter((text) => text !== 'end').toSorted();
}

@Injectable()
class Ending {
  @OnKeyExpired('end')
  run(): void {
    ran.add('end');
  }
}

@Injectable()
class Devices {
  @OnKeyExpired('device:*')
  onOffline({ captures: [id] }: KeyExpiredEvent): void {
    ran.add(`${this.constructor.name} ${id}`);
  }
}

describe('a decorated method', () => {
  it('of a provider runs, as a method of its instance', async () => {
    const { app, mapped } = await create({ providers: [Devices, Ending] });
    Object.defineProperty(app.get(Devices), 'constructor', {
      value: { name: 'that very instance' },
    });

    expect(await runsOf('device:42', 'other:1')).toEqual([
      'that very instance 42',
    ]);
    expect(mapped).toEqual([
      'Mapped {device:*, expired} to Devices.onOffline',
      'Mapped {end, expired} to Ending.run',
    ]);
  });

  it('of a controller runs', async () => {
    @Controller('devices')
    class DevicesController {
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(`controller ${key}`);
      }
    }
    const { mapped } = await create({
      controllers: [DevicesController],
      providers: [Ending],
    });

    expect(await runsOf('device:42')).toEqual(['controller device:42']);
    expect(mapped).toContain(
      'Mapped {device:*, expired} to DevicesController.onOffline',
    );
  });

  it('of a module class runs', async () => {
    @Module({})
    class DevicesModule {
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(`module ${key}`);
      }
    }
    await create({ imports: [DevicesModule], providers: [Ending] });

    expect(await runsOf('device:42')).toEqual(['module device:42']);
  });

  it('that is stacked runs for each of its patterns', async () => {
    class Stacked {
      @OnKeyExpired('device:*')
      @OnKeyExpired('sensor:*')
      @OnKeyExpired('*:1')
      onOffline({ key, pattern, captures }: KeyExpiredEvent) {
        ran.add(`${key} by ${pattern} ${captures[0]}`);
      }
    }
    const { mapped } = await create({ providers: [Stacked, Ending] });

    expect(await runsOf('device:1', 'sensor:2')).toEqual([
      'device:1 by *:1 device',
      'device:1 by device:* 1',
      'sensor:2 by sensor:* 2',
    ]);
    expect(mapped.slice(0, 3)).toEqual([
      'Mapped {device:*, expired} to Stacked.onOffline',
      'Mapped {sensor:*, expired} to Stacked.onOffline',
      'Mapped {*:1, expired} to Stacked.onOffline',
    ]);
  });

  it('that is stacked twice with one pattern runs twice', async () => {
    class Twice {
      @OnKeyExpired('device:*')
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(key);
      }
    }
    await create({ providers: [Twice, Ending] });

    expect(await runsOf('device:1')).toEqual(['device:1', 'device:1']);
  });

  it('that is inherited runs on the heir', async () => {
    class Meters extends Devices {}
    const { mapped } = await create({ providers: [Meters, Ending] });

    expect(await runsOf('device:42')).toEqual(['Meters 42']);
    expect(mapped).toContain('Mapped {device:*, expired} to Meters.onOffline');
  });

  it('of an abstract class runs on each heir that is provided', async () => {
    class Meters extends Devices {}
    class Lamps extends Devices {}
    await create({ providers: [Meters, Lamps, Ending] });

    expect(await runsOf('device:42')).toEqual(['Lamps 42', 'Meters 42']);
  });

  it('that is overridden runs by the decorators of the one that overrides', async () => {
    class Silent extends Devices {
      override onOffline() {
        ran.add('silent');
      }
    }
    class Other extends Devices {
      @OnKeyExpired('other:*')
      override onOffline(event: KeyExpiredEvent) {
        super.onOffline(event);
      }
    }
    const { mapped } = await create({ providers: [Silent, Other, Ending] });

    expect(await runsOf('device:1', 'other:2')).toEqual(['Other 2']);
    expect(mapped).toHaveLength(2);
  });

  it.each(['inside', 'outside'])(
    'that another decorator wraps, %s, runs as wrapped',
    async (where) => {
      const Wrap: MethodDecorator = (_target, _property, descriptor) => {
        const wrapped = descriptor.value as (event: KeyExpiredEvent) => void;
        descriptor.value = function (this: unknown, event: KeyExpiredEvent) {
          ran.add('before');
          wrapped.call(this, event);
        } as never;
      };
      class Inside {
        @Wrap
        @OnKeyExpired('device:*')
        onOffline({ key }: KeyExpiredEvent) {
          ran.add(key);
        }
      }
      class Outside {
        @OnKeyExpired('device:*')
        @Wrap
        onOffline({ key }: KeyExpiredEvent) {
          ran.add(key);
        }
      }
      await create({
        providers: [where === 'inside' ? Inside : Outside, Ending],
      });

      expect(await runsOf('device:1')).toEqual(['before', 'device:1']);
    },
  );

  it('may be protected, async, or return an Observable', async () => {
    class Kinds {
      @OnKeyExpired('protected')
      protected hidden() {
        ran.add('protected');
      }
      @OnKeyExpired('async')
      async later() {
        await new Promise((resolve) => setImmediate(resolve));
        ran.add('async');
      }
      @OnKeyExpired('observable')
      stream() {
        ran.add('observable');
        return of(1);
      }
    }
    const { subscriber } = await create({ providers: [Kinds, Ending] });

    expect(await runsOf('protected', 'async', 'observable')).toEqual([
      'async',
      'observable',
      'protected',
    ]);
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        received: 4,
        handled: 4,
      }),
    );
  });

  it('that fails is logged with its name, pattern and key, and others go on', async () => {
    class Failing {
      @OnKeyExpired('device:*')
      onOffline(event: KeyExpiredEvent) {
        ran.add(`tried ${event.key}`);
        throw new Error('out of order');
      }
      @OnKeyExpired('device:*')
      async onOfflineLater() {
        await Promise.reject(new Error('later'));
      }
    }
    const { logs, subscriber } = await create({
      providers: [Failing, Devices, Ending],
    });

    expect(await runsOf('device:1', 'device:2')).toEqual([
      'Devices 1',
      'Devices 2',
      'tried device:1',
      'tried device:2',
    ]);
    await eventually(() =>
      expect(logs.texts('error').toSorted()).toEqual([
        'Failing.onOffline failed on key "device:1" (pattern "device:*"): out of order',
        'Failing.onOffline failed on key "device:2" (pattern "device:*"): out of order',
        'Failing.onOfflineLater failed on key "device:1" (pattern "device:*"): later',
        'Failing.onOfflineLater failed on key "device:2" (pattern "device:*"): later',
      ]),
    );
    expect(subscriber.status().counters).toMatchObject({
      received: 7,
      handled: 3,
      failed: 4,
    });
  });
});

describe('a provider', () => {
  it('made by useFactory has its handlers run', async () => {
    await create({
      providers: [
        { provide: 'devices', useFactory: () => new Devices() },
        Ending,
      ],
    });

    expect(await runsOf('device:42')).toEqual(['Devices 42']);
  });

  it('made by an async useFactory as a subclass runs the handlers of that', async () => {
    class Meters extends Devices {}
    await create({
      providers: [
        { provide: Devices, useFactory: () => Promise.resolve(new Meters()) },
        Ending,
      ],
    });

    expect(await runsOf('device:42')).toEqual(['Meters 42']);
  });

  it('given by useValue has its handlers run', async () => {
    await create({
      providers: [{ provide: 'devices', useValue: new Devices() }, Ending],
    });

    expect(await runsOf('device:42')).toEqual(['Devices 42']);
  });

  it('given by useClass runs the handlers of that class', async () => {
    class Meters extends Devices {}
    await create({
      providers: [{ provide: Devices, useClass: Meters }, Ending],
    });

    expect(await runsOf('device:42')).toEqual(['Meters 42']);
  });

  it.each<[how: string, provider: Provider]>([
    ['itself', Devices],
    ['useClass', { provide: 'devices', useClass: Devices }],
    ['useValue', { provide: 'devices', useValue: new Devices() }],
    ['useFactory', { provide: 'devices', useFactory: () => new Devices() }],
    [
      'a factory with a name of its own',
      {
        provide: Devices,
        useFactory: function makeDevices() {
          return new Devices();
        },
      },
    ],
  ])('given by %s is named in the log by its class', async (_, provider) => {
    const { mapped } = await create({ providers: [provider] });

    expect(mapped).toEqual(['Mapped {device:*, expired} to Devices.onOffline']);
  });

  it('with further names by useExisting has its handlers run once', async () => {
    const { mapped } = await create({
      providers: [
        Devices,
        { provide: 'devices', useExisting: Devices },
        { provide: 'again', useExisting: 'devices' },
        Ending,
      ],
    });

    expect(await runsOf('device:42')).toEqual(['Devices 42']);
    expect(mapped).toHaveLength(2);
  });

  it('in two modules is two instances, and each has its handlers run', async () => {
    @Module({ providers: [Devices] })
    class First {}
    @Module({ providers: [Devices] })
    class Second {}
    const { mapped } = await create({
      imports: [First, Second],
      providers: [Ending],
    });

    expect(await runsOf('device:42')).toEqual(['Devices 42', 'Devices 42']);
    expect(mapped).toHaveLength(3);
  });

  it('that is exported and imported elsewhere is one', async () => {
    @Module({ providers: [Devices], exports: [Devices] })
    class First {}
    @Module({ imports: [First], exports: [First] })
    class Second {}
    await create({ imports: [First, Second], providers: [Ending] });

    expect(await runsOf('device:42')).toEqual(['Devices 42']);
  });

  it('may be any value at all', async () => {
    const values: unknown[] = [
      Object.create(null),
      Object.assign(Object.create(null) as object, { onOffline: () => {} }),
      null,
      undefined,
      0,
      '',
      'text',
      Symbol('a'),
      () => 1,
      [],
      new Map(),
      new Date(),
      Object.freeze({}),
      Promise.resolve(1),
      new Proxy({}, {}),
      {
        get broken(): never {
          throw new Error('do not touch');
        },
      },
    ];
    await create({
      providers: [
        ...values.map((useValue, i) => ({ provide: `value ${i}`, useValue })),
        Devices,
        Ending,
      ],
    });

    expect(await runsOf('device:42')).toEqual(['Devices 42']);
  });

  it('has no getter of its class called while handlers are looked for', async () => {
    class Lazy {
      get connection(): string {
        ran.add('a getter was called');
        return '';
      }
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(key);
      }
    }
    await create({ providers: [Lazy, Ending] });

    expect(await runsOf('device:42')).toEqual(['device:42']);
  });
});

describe('a provider that is made anew', () => {
  let made: number;

  beforeEach(() => {
    made = 0;
  });

  it('for each event, as it is request-scoped, gets the event as the request', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Scoped {
      readonly number = ++made;
      constructor(@Inject(REQUEST) private readonly request: unknown) {}

      @OnKeyExpired('device:*')
      onOffline(event: KeyExpiredEvent) {
        ran.add(`${this.number} ${event.key} ${this.request === event}`);
      }
    }
    const { mapped, logs } = await create({ providers: [Scoped, Ending] });
    expect(made).toBe(0);

    expect(await runsOf('device:1', 'device:2')).toEqual([
      '1 device:1 true',
      '2 device:2 true',
    ]);
    expect(mapped).toContain('Mapped {device:*, expired} to Scoped.onOffline');
    expect(logs.texts('warn')).toEqual([]);
  });

  it('as something that it needs is request-scoped, does so too', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Context {
      readonly number = ++made;
      constructor(@Inject(REQUEST) readonly event: KeyExpiredEvent) {}
    }
    @Injectable()
    class Middle {
      constructor(@Inject(Context) readonly context: Context) {}
    }
    @Injectable()
    class Outer {
      constructor(
        @Inject(Middle) private readonly middle: Middle,
        @Inject(Context) private readonly context: Context,
      ) {}

      @OnKeyExpired('device:*')
      onOffline(event: KeyExpiredEvent) {
        const { context } = this.middle;
        ran.add(
          `${context.number} ${context.event === event} ${context === this.context}`,
        );
      }
    }
    await create({ providers: [Context, Middle, Outer, Ending] });

    expect(await runsOf('device:1', 'device:2')).toEqual([
      '1 true true',
      '2 true true',
    ]);
  });

  it('as a controller that is request-scoped', async () => {
    @Controller({ scope: Scope.REQUEST })
    class ScopedController {
      readonly number = ++made;
      constructor(@Inject(REQUEST) private readonly request: KeyExpiredEvent) {}

      @OnKeyExpired('device:*')
      onOffline(event: KeyExpiredEvent) {
        ran.add(`${this.number} ${this.request === event}`);
      }
    }
    await create({ controllers: [ScopedController], providers: [Ending] });

    expect(await runsOf('device:1', 'device:2')).toEqual(['1 true', '2 true']);
  });

  it('as it is transient, has its handlers run once, whoever else injects it', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Transient {
      readonly number = ++made;

      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(`${key} ${this instanceof Transient}`);
        numbers.add(this.number);
      }
    }
    const numbers = new Set<number>();
    @Injectable()
    class One {
      constructor(@Inject(Transient) readonly transient: Transient) {}
    }
    @Injectable()
    class Two {
      constructor(@Inject(Transient) readonly transient: Transient) {}
    }
    const { app } = await create({ providers: [Transient, One, Two, Ending] });

    expect(await runsOf('device:1', 'device:2')).toEqual([
      'device:1 true',
      'device:2 true',
    ]);
    expect(numbers.size).toBe(2);
    for (const { transient } of [app.get(One), app.get(Two)])
      expect(numbers).not.toContain(transient.number);
  });

  it('as it is transient and needs something request-scoped', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Transient {
      constructor(@Inject(REQUEST) private readonly request: KeyExpiredEvent) {}

      @OnKeyExpired('device:*')
      onOffline(event: KeyExpiredEvent) {
        ran.add(`${event.key} ${this.request === event}`);
      }
    }
    await create({ providers: [Transient, Ending] });

    expect(await runsOf('device:1')).toEqual(['device:1 true']);
  });

  it('by a factory that is request-scoped', async () => {
    await create({
      providers: [
        {
          provide: Devices,
          scope: Scope.REQUEST,
          inject: [REQUEST],
          useFactory: (event: KeyExpiredEvent) => {
            ran.add(`made for ${event.key}`);
            return new Devices();
          },
        },
        Ending,
      ],
    });

    expect(await runsOf('device:1')).toEqual([
      'Devices 1',
      'made for device:1',
    ]);
  });

  it('in a module of its own, which the root knows nothing of', async () => {
    @Injectable()
    class Store {}
    @Injectable({ scope: Scope.REQUEST })
    class Scoped {
      constructor(@Inject(Store) readonly store: Store) {}

      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(`${key} ${this.store instanceof Store}`);
      }
    }
    @Module({ providers: [Store, Scoped] })
    class DevicesModule {}
    await create({ imports: [DevicesModule], providers: [Ending] });

    expect(await runsOf('device:1')).toEqual(['device:1 true']);
  });

  it('and cannot be made, is a failure of that event', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Broken {
      constructor() {
        throw new Error('cannot be made');
      }
      @OnKeyExpired('device:*')
      onOffline() {}
    }
    const { logs, subscriber } = await create({ providers: [Broken, Ending] });

    expect(await runsOf('device:1')).toEqual([]);
    await eventually(() =>
      expect(logs.texts('error')).toEqual([
        'Broken.onOffline failed on key "device:1" (pattern "device:*"): cannot be made',
      ]),
    );
    expect(subscriber.status().counters).toMatchObject({ failed: 1 });
  });
});

describe('several handlers of one pattern', () => {
  class Others {
    @OnKeyExpired('device:*')
    one({ key }: KeyExpiredEvent) {
      ran.add(`one ${key}`);
    }
    @OnKeyExpired('device:*')
    two({ key }: KeyExpiredEvent) {
      ran.add(`two ${key}`);
    }
  }

  it.each([
    ['keyspace', 'Kx', { patterns: 1, channels: ['__keyspace@0__:end'] }],
    ['keyevent', 'Ex', { patterns: 0, channels: ['__keyevent@0__:expired'] }],
  ])('are one subscription: %s', async (_, flags, subscriptions) => {
    await server.setFlags(flags);
    await create({ providers: [Devices, Others, Ending] });

    expect(await server.subscriptions()).toEqual(subscriptions);
    for (const channel of subscriptions.channels)
      expect(await server.redis.pubsub('NUMSUB', channel)).toEqual([
        channel,
        1,
      ]);
    expect(await runsOf('device:1')).toEqual([
      'Devices 1',
      'one device:1',
      'two device:1',
    ]);
  });
});

describe('with a ContextIdStrategy', () => {
  const apply = (strategy: ContextIdStrategy): void => {
    ContextIdFactory.apply(strategy);
    onTestFinished(() => {
      ContextIdFactory.apply(undefined as never);
    });
  };

  /** As in Nest's documentation: providers are made once for each tenant, whom a header names. */
  class AggregateByTenant implements ContextIdStrategy {
    readonly #tenants = new Map<string, ContextId>();

    constructor(private readonly tenantOf: (request: never) => string) {}

    attach(contextId: ContextId, request: never): ContextIdResolver {
      const tenantId = this.tenantOf(request);
      const known = this.#tenants.get(tenantId) ?? ContextIdFactory.create();
      this.#tenants.set(tenantId, known);
      return {
        resolve: (info) => (info.isTreeDurable ? known : contextId),
        payload: { tenantId },
      };
    }
  }

  let made: number;

  @Injectable({ scope: Scope.REQUEST, durable: true })
  class Durable {
    readonly #number = ++made;

    constructor(
      @Inject(REQUEST) private readonly request: { tenantId?: string },
    ) {}

    @OnKeyExpired('device:*')
    onOffline({ key }: KeyExpiredEvent) {
      ran.add(`durable ${this.#number} of ${this.request.tenantId}: ${key}`);
    }
  }

  @Injectable({ scope: Scope.REQUEST })
  class PerEvent {
    constructor(
      @Inject(REQUEST)
      private readonly request: KeyExpiredEvent & { tenantId: string },
    ) {}

    @OnKeyExpired('device:*')
    onOffline() {
      ran.add(`for ${this.request.tenantId}: ${this.request.key}`);
    }
  }

  beforeEach(() => {
    made = 0;
  });

  it('that reads headers, as in the documentation of Nest, runs handlers of durable and of other providers', async () => {
    apply(
      new AggregateByTenant(
        ({ headers }: { headers: Record<string, string> }) =>
          headers['x-tenant-id'] ?? 'nobody',
      ),
    );
    await create({ providers: [Durable, PerEvent] });
    await server.expire('device:1', 'device:2');

    expect((await ran.next(4)).toSorted()).toEqual([
      'durable 1 of nobody: device:1',
      'durable 1 of nobody: device:2',
      'for nobody: device:1',
      'for nobody: device:2',
    ]);
  });

  it('that reads the event has one durable provider for each tenant', async () => {
    apply(
      new AggregateByTenant(
        ({ captures }: KeyExpiredEvent) => captures[0]!.split(':')[0]!,
      ),
    );
    await create({ providers: [Durable] });
    await server.expire('device:a:1', 'device:b:1', 'device:a:2');

    expect((await ran.next(3)).toSorted()).toEqual([
      'durable 1 of a: device:a:1',
      'durable 1 of a: device:a:2',
      'durable 2 of b: device:b:1',
    ]);
  });

  it('that fails is named in the error', async () => {
    apply(
      new AggregateByTenant(({ user }: { user: { tenant: string } }) =>
        String(user.tenant),
      ),
    );
    const { logs } = await createApp({
      imports: [redisExpiry(server)],
      providers: [PerEvent],
    });
    await server.expire('device:1');

    await eventually(() =>
      expect(logs.texts('error')).toEqual([
        expect.stringMatching(
          /PerEvent.onOffline failed on key "device:1".*ContextIdStrategy of the application failed.*tenant.*KeyExpiredEvent, with empty headers/,
        ),
      ]),
    );
  });
});

describe('a module that is loaded lazily', () => {
  it('has its handlers run from when load() resolves, once', async () => {
    @Injectable()
    class Lazy {
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent) {
        ran.add(`lazy ${key}`);
      }
    }
    @Module({ providers: [Lazy] })
    class LazyModule {}
    const { app, logs } = await createApp({ imports: [redisExpiry(server)] });
    const loader = app.get(LazyModuleLoader);

    await loader.load(() => LazyModule);
    await server.expire('device:1');
    await loader.load(() => LazyModule);
    await server.expire('device:2');

    expect(await ran.next(2)).toEqual(['lazy device:1', 'lazy device:2']);
    expect(logs.texts('log', 'Mapped {')).toEqual([
      'Mapped {device:*, expired} to Lazy.onOffline',
    ]);
  });
});
