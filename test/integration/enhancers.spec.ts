import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  ForbiddenException,
  Inject,
  Injectable,
  type ModuleMetadata,
  type NestInterceptor,
  type PipeTransform,
  type Provider,
  Scope,
  SetMetadata,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import {
  APP_FILTER,
  APP_GUARD,
  APP_INTERCEPTOR,
  APP_PIPE,
  REQUEST,
  Reflector,
} from '@nestjs/core';
import { EMPTY, Observable, of, tap, throwError } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type EnhancerKind,
  type KeyExpiredEvent,
  OnKeyExpired,
} from '../../lib/index.js';
import { type TestOptions, createApp, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { useServer } from '../support/servers.js';

const server = useServer();

/** What ran, in the words of whoever did. */
let ran: Collector<string>;

beforeEach(() => {
  ran = collect();
});

const ALL: readonly EnhancerKind[] = [
  'guards',
  'interceptors',
  'pipes',
  'filters',
];

async function create(
  enhancers: readonly EnhancerKind[],
  providers: Provider[],
  options: TestOptions = {},
  metadata: ModuleMetadata = {},
) {
  const app = await createApp({
    ...metadata,
    imports: [
      ...(metadata.imports ?? []),
      redisExpiry(server, { enhancers, ...options }),
    ],
    providers,
  });
  /** Lets a key expire; what ran because of that, and what was counted since the start. */
  const runsOf = async (key: string) => {
    const before = app.subscriber.status().counters;
    const begun = ran.all.length;
    await server.expire(key);
    await eventually(() => {
      const { counters, queued, running } = app.subscriber.status();
      expect(counters.received).toBeGreaterThan(before.received);
      expect(queued + running).toBe(0);
    });
    const { handled, failed } = app.subscriber.status().counters;
    return { ran: ran.all.slice(begun), handled, failed };
  };
  return { ...app, subscriber: app.subscriber, runsOf };
}

/** The key of the event that an enhancer is called for. */
const keyOf = (host: ArgumentsHost): string =>
  host.getArgByIndex<KeyExpiredEvent>(0).key;

const Roles = (...roles: string[]) => SetMetadata('roles', roles);

@Injectable()
class RolesGuard implements CanActivate {
  constructor(@Inject(Reflector) private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const places = [context.getHandler(), context.getClass()];
    const roles = this.reflector.getAllAndMerge<string[]>('roles', places);
    ran.add(`guard of ${context.getClass().name} ${roles.join()}`);
    return !roles.includes('nobody');
  }
}

@Injectable()
class Around implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    ran.add(
      `${context.getType()} ${context.getHandler().name} ${keyOf(context)}`,
    );
    return next
      .handle()
      .pipe(tap((result) => ran.add(`after: ${result as string}`)));
  }
}

@Injectable()
class Upper implements PipeTransform<KeyExpiredEvent> {
  transform(
    event: KeyExpiredEvent,
    { type, metatype }: { type: string; metatype?: unknown },
  ) {
    ran.add(`pipe of a ${type}, an ${(metatype as { name: string }).name}`);
    return { ...event, key: event.key.toUpperCase() };
  }
}

@Catch()
class TakeAll implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost): void {
    ran.add(`${host.getType()} filter of ${keyOf(host)}: ${error.message}`);
  }
}

@Injectable()
@Roles('of the class')
@UseGuards(RolesGuard)
class Devices {
  @OnKeyExpired('device:*')
  @Roles('of the method')
  @UseInterceptors(Around)
  @UsePipes(Upper)
  @UseFilters(TakeAll)
  onOffline({ key }: KeyExpiredEvent): string {
    ran.add(key);
    if (key.endsWith('BROKEN') || key.endsWith('broken'))
      throw new Error('broken');
    return `done ${key}`;
  }

  @OnKeyExpired('secret:*')
  @Roles('nobody')
  onSecret(): void {
    ran.add('secret');
  }
}

const GUARD = 'guard of Devices of the method,of the class';
const BEFORE = 'redis-expiry onOffline device:1';
const PIPE = 'pipe of a body, an Object';

describe('enhancers', () => {
  it.each<[enhancers: readonly EnhancerKind[], ran: string[]]>([
    [[], ['device:1']],
    [['guards'], [GUARD, 'device:1']],
    [['interceptors'], [BEFORE, 'device:1', 'after: done device:1']],
    [['pipes'], [PIPE, 'DEVICE:1']],
    [['filters'], ['device:1']],
    [ALL, [GUARD, BEFORE, PIPE, 'DEVICE:1', 'after: done DEVICE:1']],
  ])('apply where they are named: %j', async (enhancers, expected) => {
    const { runsOf } = await create(enhancers, [Devices]);

    expect(await runsOf('device:1')).toEqual({
      ran: expected,
      handled: 1,
      failed: 0,
    });
  });

  it.each<[kind: EnhancerKind, provider: Provider, expected: string[]]>([
    [
      'guards',
      { provide: APP_GUARD, useClass: RolesGuard },
      ['guard of Plain ', 'device:1'],
    ],
    [
      'interceptors',
      { provide: APP_INTERCEPTOR, useClass: Around },
      ['redis-expiry onOffline device:1', 'device:1', 'after: undefined'],
    ],
    ['pipes', { provide: APP_PIPE, useClass: Upper }, [PIPE, 'DEVICE:1']],
    [
      'filters',
      { provide: APP_FILTER, useClass: TakeAll },
      ['device:1', 'redis-expiry filter of device:1: broken'],
    ],
  ])(
    'that are registered globally apply if they are named, and else do not: %s',
    async (kind, provider, expected) => {
      @Injectable()
      class Plain {
        @OnKeyExpired('device:*')
        onOffline({ key }: KeyExpiredEvent): void {
          ran.add(key);
          if (kind === 'filters') throw new Error('broken');
        }
      }
      const named = await create([kind], [Plain, provider]);
      expect(await named.runsOf('device:1')).toMatchObject({ ran: expected });
      await named.close();

      const others = ALL.filter((each) => each !== kind);
      const unnamed = await create(others, [Plain, provider]);
      expect(await unnamed.runsOf('device:1')).toMatchObject({
        ran: ['device:1'],
      });
    },
  );

  it('are looked up once for a handler, not for each event', async () => {
    let made = 0;
    @Injectable()
    class Counted extends Around {
      constructor() {
        super();
        made++;
      }
    }
    @Injectable()
    class Plain {
      @OnKeyExpired('device:*')
      @UseInterceptors(Counted)
      onOffline(): void {}
    }
    const { runsOf } = await create(['interceptors'], [Plain]);
    await runsOf('device:1');
    await runsOf('device:2');

    expect(made).toBe(1);
  });

  it.each<[where: string, handler: unknown, around: boolean, failed: number]>([
    ['of a handler that emits', of(1), true, 0],
    ['of a handler that does not', EMPTY, true, 1],
    ['of an interceptor that does not', of(1), false, 1],
  ])('have to let a stream emit: %s', async (_, returned, around, failed) => {
    @Injectable()
    class Passing implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler) {
        return around ? next.handle() : EMPTY;
      }
    }
    @Injectable()
    class Streaming {
      @OnKeyExpired('device:*')
      @UseInterceptors(Passing)
      onOffline(): unknown {
        return returned;
      }
    }
    const { runsOf } = await create(['interceptors'], [Streaming]);

    expect(await runsOf('device:1')).toMatchObject({ failed });
  });

  it('do not apply to what is subscribed to by hand', async () => {
    const { subscriber, runsOf } = await create(ALL, [
      { provide: APP_INTERCEPTOR, useClass: Around },
    ]);
    await subscriber.subscribe('device:*', ({ key }) => ran.add(key));

    expect((await runsOf('device:1')).ran).toEqual(['device:1']);
  });

  it.each<[given: unknown, shown: string]>([
    ['guards', '"guards"'],
    [['guards', 'guard'], '"guard"'],
    [null, 'null'],
  ])('are refused where they are no kinds: %j', async (given, shown) => {
    await expect(create(given as never, [])).rejects.toMatchObject({
      code: 'INVALID_OPTION_ENHANCERS',
      message: `Option "enhancers" is ${shown}; accepted: an array of 'guards', 'interceptors', 'pipes', 'filters'.`,
    });
  });
});

describe('a guard that refuses', () => {
  it('makes the try fail, with a ForbiddenException', async () => {
    const { runsOf, logs } = await create(['guards'], [Devices]);

    expect(await runsOf('secret:1')).toEqual({
      ran: ['guard of Devices nobody,of the class'],
      handled: 0,
      failed: 1,
    });
    expect(logs.texts('error')).toEqual([
      'Devices.onSecret failed on key "secret:1" (pattern "secret:*"): Forbidden resource',
    ]);
  });

  it('has it handled where a filter takes that', async () => {
    @Catch(ForbiddenException)
    class Refused implements ExceptionFilter {
      catch(): void {
        ran.add('refused');
      }
    }
    const { runsOf } = await create(
      ['guards', 'filters'],
      [Devices, { provide: APP_FILTER, useClass: Refused }],
    );

    expect(await runsOf('secret:1')).toMatchObject({
      ran: [expect.any(String), 'refused'],
      handled: 1,
      failed: 0,
    });
  });

  it('in a group has the event tried again, and then given up', async () => {
    const { subscriber } = await create(['guards'], [Devices], {
      ...{ group: 'devices', punctual: true },
      retry: { attempts: 2, backoff: 10 },
    });
    await server.redis.set('secret:1', '', 'PX', 50);

    await eventually(async () =>
      expect(await subscriber.deadLetters()).toMatchObject([
        { key: 'secret:1', error: 'Forbidden resource' },
      ]),
    );
    expect(ran.all).toEqual(Array(2).fill(ran.all[0]));
  });
});

describe('a filter', () => {
  /** A handler that throws, and a filter that does this with it. */
  async function filtered(
    does: (error: Error) => unknown,
    options: TestOptions = {},
  ) {
    @Catch(RangeError)
    class Filter implements ExceptionFilter {
      catch(error: Error): unknown {
        ran.add(`filter: ${error.message}`);
        return does(error);
      }
    }
    @Injectable()
    class Broken {
      @OnKeyExpired('*')
      @UseFilters(Filter)
      onOffline({ key }: KeyExpiredEvent): void {
        ran.add(key);
        if (key === 'other') throw new TypeError('other');
        throw new RangeError('broken');
      }
    }
    return create(['filters'], [Broken], options);
  }

  it.each<[what: string, does: () => unknown]>([
    ['nothing', () => undefined],
    ['null', () => null],
    ['a value', () => 'taken'],
    ['a promise', () => Promise.resolve()],
    ['an Observable', () => of(1)],
    ['an Observable of nothing', () => EMPTY],
  ])('that returns %s has taken the error', async (_, does) => {
    const { runsOf, logs } = await filtered(does);

    expect(await runsOf('k')).toEqual({
      ran: ['k', 'filter: broken'],
      handled: 1,
      failed: 0,
    });
    expect(logs.texts('error')).toEqual([]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it.each<[what: string, does: (error: Error) => unknown]>([
    [
      'throws',
      (error) => {
        throw error;
      },
    ],
    ['rejects', (error) => Promise.reject(error)],
    ['returns an Observable that fails', (error) => throwError(() => error)],
  ])('that %s has not', async (_, does) => {
    const { runsOf, logs } = await filtered(does);

    expect(await runsOf('k')).toMatchObject({ handled: 0, failed: 1 });
    expect(logs.texts('error')).toEqual([
      'Broken.onOffline failed on key "k" (pattern "*"): broken',
    ]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it('for other errors is not asked', async () => {
    const { runsOf, logs } = await filtered(() => undefined);

    expect(await runsOf('other')).toEqual({
      ran: ['other'],
      handled: 0,
      failed: 1,
    });
    expect(logs.texts('error')).toHaveLength(1);
  });

  it('that throws another error is told of, with the error that it was given', async () => {
    const { runsOf, logs } = await filtered(() => {
      throw new TypeError('no response');
    });

    expect(await runsOf('k')).toMatchObject({ handled: 0, failed: 1 });
    expect(logs.texts('error')).toEqual([
      'Broken.onOffline failed on key "k" (pattern "*"): no response',
    ]);
    expect(logs.texts('warn')).toEqual([
      'A filter of Broken.onOffline threw another error in the place of this one: broken',
    ]);
  });

  it('that takes the error in a group leaves nothing to try again', async () => {
    const { subscriber } = await filtered(() => undefined, {
      ...{ group: 'devices', punctual: true },
      retry: { attempts: 3, backoff: 10 },
    });
    await server.redis.set('k', '', 'PX', 50);

    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        handled: 1,
        failed: 0,
        retried: 0,
      }),
    );
    expect(await subscriber.deadLetters()).toEqual([]);
  });
});

describe('providers that are made for each event', () => {
  it('have their enhancers, request-scoped ones included', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerEvent implements NestInterceptor {
      constructor(@Inject(REQUEST) private readonly event: KeyExpiredEvent) {}

      intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
        ran.add(`interceptor of ${this.event.key}`);
        return next.handle();
      }
    }
    @Injectable({ scope: Scope.REQUEST })
    @UseGuards(RolesGuard)
    class Scoped {
      constructor(@Inject(REQUEST) private readonly event: KeyExpiredEvent) {}

      @OnKeyExpired('device:*')
      @UseInterceptors(PerEvent)
      onOffline(): void {
        ran.add(`handler of ${this.event.key}`);
      }
    }
    const { runsOf } = await create(ALL, [Scoped]);

    for (const key of ['device:1', 'device:2'])
      expect((await runsOf(key)).ran).toEqual([
        'guard of Scoped ',
        `interceptor of ${key}`,
        `handler of ${key}`,
      ]);
  });

  it('that are transient have their enhancers', async () => {
    let made = 0;
    @Injectable({ scope: Scope.TRANSIENT })
    @UseGuards(RolesGuard)
    class Transient {
      private readonly number = ++made;

      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent): void {
        ran.add(`${key} by ${this.number}`);
      }
    }
    const { runsOf } = await create(ALL, [Transient]);
    const before = made;

    expect((await runsOf('device:1')).ran).toEqual([
      'guard of Transient ',
      `device:1 by ${before + 1}`,
    ]);
    expect((await runsOf('device:2')).ran).toEqual([
      'guard of Transient ',
      `device:2 by ${before + 2}`,
    ]);
  });

  it('may be an enhancer of the whole application, also for a handler that is not', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerEvent implements CanActivate {
      constructor(
        @Inject(REQUEST) private readonly event: KeyExpiredEvent,
        @Inject(Reflector) private readonly reflector: Reflector,
      ) {}

      canActivate(context: ExecutionContext): boolean {
        ran.add(`guard of ${this.event.key}`);
        return this.reflector.get('roles', context.getHandler()) === undefined;
      }
    }
    @Injectable()
    class Plain {
      private count = 0;

      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent): void {
        ran.add(`${key} is number ${++this.count}`);
      }
    }
    const global = {
      ...{ provide: APP_GUARD, useClass: PerEvent },
      scope: Scope.REQUEST,
    };
    const { runsOf, close } = await create(['guards'], [Plain, global]);

    expect((await runsOf('device:1')).ran).toEqual([
      'guard of device:1',
      'device:1 is number 1',
    ]);
    expect((await runsOf('device:2')).ran).toEqual([
      'guard of device:2',
      'device:2 is number 2',
    ]);
    await close();
    const without = await create(['interceptors'], [Plain, global]);
    expect((await without.runsOf('device:3')).ran).toEqual([
      'device:3 is number 1',
    ]);
  });

  it('warn of a transient enhancer of the whole application, which cannot apply', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Transient extends Around {}
    const global = {
      ...{ provide: APP_INTERCEPTOR, useClass: Transient },
      scope: Scope.TRANSIENT,
    };
    const { logs } = await create(['interceptors'], [Devices, global]);

    expect(logs.texts('warn', 'transient')).toEqual([
      'Transient applies globally and is transient, so it does not apply to handlers of expiries: make it a singleton, or request-scoped',
    ]);
  });
});

describe('a provider that Nest does not make', () => {
  it.each<[how: string, provider: Provider]>([
    ['useFactory', { provide: 'made', useFactory: () => new Devices() }],
    [
      'useFactory, as its class',
      { provide: Devices, useFactory: () => new Devices() },
    ],
    ['useValue', { provide: 'made', useValue: new Devices() }],
  ])(
    'has none that are classes, and a warning names them: %s',
    async (_, provider) => {
      const { runsOf, logs } = await create(ALL, [provider]);

      expect((await runsOf('device:1')).ran).toEqual(['device:1']);
      const where = 'is of a provider that is not given by its class, so Nest';
      const what = 'does not make its enhancers, and they do not apply:';
      const advice = 'Give the class, or instances of the enhancers';
      expect(logs.texts('warn')).toEqual([
        `Devices.onOffline ${where} ${what} RolesGuard, Around, Upper, TakeAll. ${advice}`,
        `Devices.onSecret ${where} ${what} RolesGuard. ${advice}`,
      ]);
    },
  );

  it('has those that are instances', async () => {
    @Injectable()
    class Plain {
      @OnKeyExpired('device:*')
      @UseInterceptors(new Around())
      onOffline(): void {}
    }
    const made = { provide: 'made', useFactory: () => new Plain() };
    const { runsOf, logs } = await create(['interceptors'], [made]);

    expect((await runsOf('device:1')).ran).toEqual([
      'redis-expiry onOffline device:1',
      'after: undefined',
    ]);
    expect(logs.texts('warn')).toEqual([]);
  });
});
