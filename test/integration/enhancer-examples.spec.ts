/** What users put around handlers, as the docs show it: docs name this file. */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  Module,
  type NestInterceptor,
} from '@nestjs/common';
import {
  APP_FILTER,
  APP_INTERCEPTOR,
  BaseExceptionFilter,
  NestFactory,
} from '@nestjs/core';
import { ClsInterceptor, ClsModule, ClsService, UseCls } from 'nestjs-cls';
import { Observable, finalize, tap } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import { createApp, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/logs.js';
import { useServer } from '../support/servers.js';

const server = useServer();

let told: Collector<string>;

beforeEach(() => {
  told = collect();
});

describe('nestjs-cls', () => {
  /** Somewhere below the handler, which knows nothing of the event. */
  @Injectable()
  class Audit {
    constructor(@Inject(ClsService) private readonly cls: ClsService) {}

    async write(): Promise<void> {
      await new Promise((resolve) => setImmediate(resolve));
      told.add(`${this.cls.get('key')} ${this.cls.getId()}`);
    }
  }

  it('has a context for each event, by ClsInterceptor', async () => {
    @Injectable()
    class Devices {
      constructor(@Inject(Audit) private readonly audit: Audit) {}

      @OnKeyExpired('device:*')
      async onOffline(): Promise<void> {
        await this.audit.write();
      }
    }
    await createApp({
      imports: [
        ClsModule.forRoot({
          global: true,
          interceptor: {
            mount: true,
            generateId: true,
            idGenerator: (context: ExecutionContext) =>
              `of ${context.getType()}`,
            setup: (cls, context) =>
              cls.set(
                'key',
                context.switchToRpc().getData<KeyExpiredEvent>().key,
              ),
          },
        }),
        redisExpiry(server, { enhancers: ['interceptors'] }),
      ],
      providers: [Audit, Devices],
    });

    await server.expire('device:1', 'device:2');

    expect((await told.next(2)).toSorted()).toEqual([
      'device:1 of redis-expiry',
      'device:2 of redis-expiry',
    ]);
  });

  it('has one by ClsInterceptor of a handler, where it is not mounted', async () => {
    @Injectable()
    class Devices {
      constructor(@Inject(ClsService) private readonly cls: ClsService) {}

      @OnKeyExpired('device:*')
      onOffline(): void {
        told.add(`active: ${this.cls.isActive()}`);
      }
    }
    await createApp({
      imports: [
        ClsModule.forRoot({ global: true }),
        redisExpiry(server, { enhancers: ['interceptors'] }),
      ],
      providers: [
        Devices,
        { provide: APP_INTERCEPTOR, useClass: ClsInterceptor },
      ],
    });

    await server.expire('device:1');

    expect(await told.one()).toBe('active: true');
  });

  it.each([[[]], [['interceptors' as const]]])(
    'has one by UseCls, with enhancers %j',
    async (enhancers) => {
      @Injectable()
      class Devices {
        constructor(@Inject(Audit) private readonly audit: Audit) {}

        @OnKeyExpired('device:*')
        @UseCls<[KeyExpiredEvent]>({
          generateId: true,
          idGenerator: () => 'of the method',
          setup: (cls, { key }) => cls.set('key', key),
        })
        async onOffline(_event: KeyExpiredEvent): Promise<void> {
          await this.audit.write();
        }
      }
      await createApp({
        imports: [
          ClsModule.forRoot({ global: true }),
          redisExpiry(server, { enhancers }),
        ],
        providers: [Audit, Devices],
      });

      await server.expire('device:1');

      expect(await told.one()).toBe('device:1 of the method');
    },
  );
});

describe('an interceptor that traces, as those for OpenTelemetry do', () => {
  it('wraps each try, failures included, and is around all that the handler does', async () => {
    /** As the active span is kept. */
    const active = new AsyncLocalStorage<string>();
    @Injectable()
    class Tracing implements NestInterceptor {
      intercept(
        context: ExecutionContext,
        next: CallHandler,
      ): Observable<unknown> {
        const name = `${context.getClass().name}.${context.getHandler().name}`;
        const { attempt } = context.getArgByIndex<KeyExpiredEvent>(0);
        const span = `${name}, try ${attempt}`;
        told.add(`${span} began`);
        return new Observable((subscriber) =>
          active.run(span, () =>
            next
              .handle()
              .pipe(
                tap({
                  error: (error: Error) =>
                    told.add(`${span} failed: ${error.message}`),
                }),
                finalize(() => told.add(`${span} ended`)),
              )
              .subscribe(subscriber),
          ),
        );
      }
    }
    @Injectable()
    class Devices {
      @OnKeyExpired('device:*')
      async onOffline({ attempt }: KeyExpiredEvent): Promise<void> {
        await new Promise((resolve) => setImmediate(resolve));
        told.add(`in ${active.getStore()}`);
        if (attempt === 1) throw new Error('no database');
      }
    }
    await createApp({
      imports: [
        redisExpiry(server, {
          ...{ enhancers: ['interceptors'], group: 'devices' },
          ...{ punctual: true, retry: { backoff: 10 } },
        }),
      ],
      providers: [Devices, { provide: APP_INTERCEPTOR, useClass: Tracing }],
    });
    await server.redis.set('device:1', '', 'PX', 50);

    const [first, second] = [1, 2].map((n) => `Devices.onOffline, try ${n}`);
    expect(await told.next(7)).toEqual([
      `${first} began`,
      `in ${first}`,
      `${first} failed: no database`,
      `${first} ended`,
      `${second} began`,
      `in ${second}`,
      `${second} ended`,
    ]);
  });
});

describe('app.useGlobalInterceptors()', () => {
  it('applies to handlers, too', async () => {
    @Injectable()
    class Devices {
      @OnKeyExpired('device:*')
      onOffline({ key }: KeyExpiredEvent): void {
        told.add(key);
      }
    }
    @Module({
      imports: [redisExpiry(server, { enhancers: ['interceptors'] })],
      providers: [Devices],
    })
    class AppModule {}
    const app = await NestFactory.create(AppModule, { logger: new LogBook() });
    onTestFinished(async () => {
      await app.close();
      Logger.overrideLogger(false);
    });
    app.useGlobalInterceptors({
      intercept: (context, next) => {
        told.add(`around ${context.getHandler().name}`);
        return next.handle();
      },
    });
    await app.init();

    await server.expire('device:1');

    expect(await told.next(2)).toEqual(['around onOffline', 'device:1']);
  });
});

describe("Sentry's filter", () => {
  /** As `SentryGlobalFilter` of `@sentry/nestjs` is written: for HTTP, and it knows no other context but some. */
  @Catch()
  class SentryGlobalFilter extends BaseExceptionFilter {
    override catch(error: Error, host: ArgumentsHost): void {
      const type = host.getType<string>();
      told.add(`captured ${error.message} of ${type}`);
      if (type === 'graphql' || type === 'rpc') throw error;
      // oxlint-disable-next-line promise/valid-params -- a filter is no promise
      super.catch(error, host);
    }
  }

  /** As the docs of this module show it. */
  @Catch()
  class AppFilter extends BaseExceptionFilter {
    override catch(error: Error, host: ArgumentsHost): void {
      // `@SentryExceptionCaptured()` does this.
      told.add(`captured ${error.message} of ${host.getType<string>()}`);
      if (host.getType<string>() === 'redis-expiry') throw error;
      // oxlint-disable-next-line promise/valid-params -- a filter is no promise
      super.catch(error, host);
    }
  }

  @Injectable()
  class Devices {
    @OnKeyExpired('device:*')
    onOffline(): void {
      throw new Error('no database');
    }
  }

  async function failing(filter: new () => ExceptionFilter) {
    @Module({
      imports: [redisExpiry(server, { enhancers: ['filters'] })],
      providers: [Devices, { provide: APP_FILTER, useClass: filter }],
    })
    class AppModule {}
    const logs = new LogBook();
    const app = await NestFactory.create(AppModule, { logger: logs });
    onTestFinished(async () => {
      await app.close();
      Logger.overrideLogger(false);
    });
    await app.init();
    await server.expire('device:1');
    expect(await told.one()).toBe('captured no database of redis-expiry');
    const subscriber = app.get(RedisExpirySubscriber, { strict: false });
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        handled: 0,
        failed: 1,
      }),
    );
    return logs;
  }

  it('captures the error, and the try has failed', async () => {
    const logs = await failing(AppFilter);

    expect(logs.texts('error')).toEqual([
      'Devices.onOffline failed on key "device:1" (pattern "device:*"): no database',
    ]);
    expect(logs.texts('warn')).toEqual([]);
  });

  it('that answers a request in the end captures it too, and it is said what the error was', async () => {
    const logs = await failing(SentryGlobalFilter);

    expect(logs.texts('error', 'Devices.onOffline failed')).toHaveLength(1);
    expect(logs.texts('warn')).toEqual([
      'A filter of Devices.onOffline threw another error in the place of this one: no database',
    ]);
  });
});
