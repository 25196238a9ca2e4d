import {
  type CanActivate,
  Inject,
  Injectable,
  Scope,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  type KeyExpiringEvent,
  OnKeyExpired,
  OnKeyExpiring,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { compileApp, createApp } from '../../support/app.js';
import { type Collector, collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { live, warned, warnedApp } from '../../support/expiring.js';
import { useServer } from '../../support/servers.js';

const server = useServer();

const app = (
  providers: Type[],
  options: RedisExpiryModuleOptions = {},
): ReturnType<typeof createApp> =>
  createApp({
    imports: [
      RedisExpiryModule.forRoot({ connection: server.url, ...options }),
    ],
    providers,
  });

const error = (code: string, message: string) =>
  expect.objectContaining({
    code,
    message: expect.stringContaining(message) as string,
  });

describe('methods that @OnKeyExpiring decorates', () => {
  it('may be stacked, also with @OnKeyExpired, and are inherited unless they are overridden', async () => {
    const { redis } = server;
    const told = collect<string>();
    const tell = (name: string, event: KeyExpiredEvent): void =>
      told.add(
        `${name} ${event.pattern} ${'remaining' in event ? 'expiring' : 'expired'}`,
      );
    @Injectable()
    class Base {
      @OnKeyExpiring('s:*', { before: 1_200 })
      @OnKeyExpiring('*:1', { before: 600 })
      @OnKeyExpired('s:*')
      on(event: KeyExpiredEvent | KeyExpiringEvent): void {
        tell(this.constructor.name, event);
      }
    }
    @Injectable()
    class Heir extends Base {}
    @Injectable()
    class Other extends Base {
      override on(): void {
        told.add('never');
      }
    }
    const { logs } = await app([Heir, Other]);

    await live(redis, 's:1', 1_700);

    expect(await told.next(3)).toEqual([
      ...['Heir s:* expiring', 'Heir *:1 expiring', 'Heir s:* expired'],
    ]);
    expect(logs.texts('log', 'Mapped')).toEqual([
      'Mapped {s:*, expiring in 1200 ms} to Heir.on',
      'Mapped {*:1, expiring in 600 ms} to Heir.on',
      'Mapped {s:*, expired} to Heir.on',
    ]);
  });

  it('belong to request-scoped providers as well, with the warning as the request', async () => {
    const { redis } = server;
    const told = collect<string>();
    @Injectable({ scope: Scope.REQUEST })
    class Scoped {
      constructor(
        @Inject(REQUEST) private readonly request: KeyExpiringEvent,
      ) {}

      @OnKeyExpiring('s:*', { before: 60_000 })
      warn({ key }: KeyExpiringEvent): void {
        told.add(`${key} ${this.request.remaining > 0}`);
      }
    }
    await app([Scoped]);

    await live(redis, 's:1', 60_200);

    expect(await told.one()).toBe('s:1 true');
  });

  it('have the enhancers that the module’s option names', async () => {
    const { redis } = server;
    const seen = collect<string>();
    const Refuse: CanActivate = {
      canActivate: (context) => {
        const event = context.getArgByIndex<KeyExpiringEvent>(0);
        seen.add(`${context.getType()} ${event.remaining > 0}`);
        return event.key !== 's:no';
      },
    };
    const told = collect<string>();
    @Injectable()
    class Guarded {
      @UseGuards(Refuse)
      @OnKeyExpiring('s:*', { before: 60_000 })
      warn({ key }: KeyExpiringEvent): void {
        told.add(key);
      }
    }
    const { subscriber } = await app([Guarded], { enhancers: ['guards'] });

    await live(redis, 's:no', 60_150);
    await live(redis, 's:yes', 60_200);

    expect(await seen.next(2)).toEqual(
      Array.from({ length: 2 }, () => 'redis-expiry true'),
    );
    expect(await told.one()).toBe('s:yes');
    expect(subscriber.status().counters.failed).toBe(1);
  });

  it('cannot work with punctual: false, and the start says so', async () => {
    const { app: application } = await compileApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, punctual: false }),
      ],
      providers: [warned('s:*', { before: 1_000 }, () => undefined)],
    });

    await expect(application.init()).rejects.toEqual(
      error('INVALID_OPTION_PUNCTUAL', 'Warned.warn'),
    );
  });

  it.each([
    [undefined, 'undefined'],
    [0, '0'],
    [1.5, '1.5'],
    ['60s', '"60s"'],
    [Number.NaN, 'NaN'],
    [Infinity, 'Infinity'],
  ])('have no before that is %j', (before, text) => {
    expect(() => OnKeyExpiring('s:*', { before: before as number })).toThrow(
      error('INVALID_OPTION_BEFORE', `Option "before" is ${text}; accepted`),
    );
  });

  it('take no option that there is not, and no pattern that is none', () => {
    const options = { before: 1, befor: 2 };
    expect(() => OnKeyExpiring('s:*', options)).toThrow(
      error('INVALID_OPTION_BEFOR', 'before'),
    );
    expect(() => OnKeyExpiring('', { before: 1 })).toThrow(
      error('INVALID_PATTERN', 'The pattern'),
    );
    expect(() => OnKeyExpiring('s:*', undefined as never)).toThrow(
      error('INVALID_OPTION_HANDLER_OPTIONS', 'an object'),
    );
    expect(() =>
      OnKeyExpiring('s:*', { before: 1 })({}, 'x', {} as never),
    ).toThrow(error('INVALID_HANDLER', '@OnKeyExpiring("s:*")'));
  });

  it('may be functions, which are checked in the same way', async () => {
    const { subscriber } = await app([]);
    const rejects = (options: unknown, handler: unknown = () => undefined) =>
      subscriber.subscribeExpiring('s:*', options as never, handler as never);

    await expect(rejects({})).rejects.toEqual(
      error('INVALID_OPTION_BEFORE', 'undefined'),
    );
    await expect(rejects({ before: 1 }, 'no')).rejects.toEqual(
      error('INVALID_HANDLER', '"no"'),
    );
    const subscription = await subscriber.subscribeExpiring(
      ...(['s:*', { before: 1 }, () => undefined] as const),
    );
    expect(subscription.pattern).toBe('s:*');
    await subscription.unsubscribe();
  });
});

describe('warnings in a group', () => {
  const GROUP = { group: 'g', retry: { attempts: 2, backoff: 50 } };

  it('are tried again with the same id, and become dead letters that can be redriven', async () => {
    const { redis } = server;
    let works = false;
    const { warnings, subscriber } = await warnedApp(
      server,
      60_000,
      GROUP,
      () => {
        if (!works) throw new Error('no');
      },
    );

    const deadline = await live(redis, 's:1', 60_200);
    const tries = await warnings.next(2);
    const id = `s:1@${deadline}-60000`;
    expect(tries.map((event) => [event.id, event.attempt])).toEqual([
      [id, 1],
      [id, 2],
    ]);
    expect(tries[1]!.remaining).toBe(tries[0]!.remaining);

    const letters = async () => subscriber.deadLetters('g');
    await eventually(async () => expect(await letters()).toHaveLength(1));
    const [letter] = await letters();
    expect(letter).toMatchObject({
      ...{ key: 's:1', eventId: id, before: 60_000, attempts: 2, error: 'no' },
      ...{ handler: 'Warned.warn s:*', deadline: new Date(deadline) },
    });
    works = true;
    await subscriber.redrive(letter!.id);
    expect(await warnings.one()).toMatchObject({ id, attempt: 1 });
    await eventually(() =>
      expect(subscriber.status().counters.handled).toBe(1),
    );
    expect(await letters()).toEqual([]);
  });

  it('are not tried again where the key was renewed meanwhile', async () => {
    const { redis } = server;
    const { warnings, subscriber } = await warnedApp(
      server,
      60_000,
      GROUP,
      async ({ key }) => {
        await redis.set(key, '1', 'PX', 90_000);
        throw new Error('no');
      },
    );

    await live(redis, 's:1', 60_200);
    await warnings.one();

    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        ...{ received: 2, failed: 1, superseded: 1, deadLettered: 0 },
      }),
    );
    expect(warnings.rest).toEqual([]);
  });

  it('go to one instance each, and to the instance that has the handler of that before', async () => {
    const { redis } = server;
    const [first, second]: Collector<KeyExpiringEvent>[] = [
      collect(),
      collect(),
    ];
    const other = collect<KeyExpiringEvent>();
    await app([warned('s:*', { before: 60_000 }, first!.add)], GROUP);
    await app(
      [
        warned('s:*', { before: 60_000 }, second!.add),
        warned('s:*', { before: 30_000 }, other.add),
      ],
      GROUP,
    );
    const keys = Array.from({ length: 40 }, (_, i) => `s:${i}`);
    await Promise.all(keys.map((key) => redis.set(key, '1', 'PX', 61_000)));
    await redis.set('s:other', '1', 'PX', 31_000);

    expect((await other.one()).key).toBe('s:other');
    await eventually(() =>
      expect(first!.all.length + second!.all.length).toBe(40),
    );
    const told = [...first!.all, ...second!.all].map(({ key }) => key);
    expect(told.toSorted()).toEqual(keys.toSorted());
    expect(other.rest).toEqual([]);
  });

  it('that are due while no instance runs come at the next start, if the key still lives', async () => {
    const { redis } = server;
    const before = await warnedApp(server, 60_000, GROUP);
    const deadline = await live(redis, 's:lives', 60_700);
    await live(redis, 's:gone', 60_700);
    await live(redis, 's:renewed', 60_700);
    await eventually(async () =>
      expect(await redis.zcard('rx:{g}:warn:60000:ahead')).toBe(3),
    );
    await before.close();
    expect(before.warnings.all).toEqual([]);
    await redis.del('s:gone');
    await redis.set('s:renewed', '1', 'PX', 120_000);
    await eventually(async () =>
      expect(await redis.pttl('s:lives')).toBeLessThan(59_900),
    );

    const after = await warnedApp(server, 60_000, GROUP);

    expect(await after.warnings.one()).toMatchObject({
      ...{
        key: 's:lives',
        source: 'recovery',
        id: `s:lives@${deadline}-60000`,
      },
    });
    expect(after.warnings.rest).toEqual([]);
    expect(after.subscriber.status().counters.recovered).toBe(1);
  });

  it('leave nothing of expiries behind where nobody handles those', async () => {
    const { redis } = server;
    const { warnings, subscriber } = await warnedApp(server, 300, GROUP);

    await live(redis, 's:1', 600);
    await warnings.one();
    await eventually(async () => expect(await redis.exists('s:1')).toBe(0));
    await eventually(async () =>
      expect(await redis.zcard('rx:{g}:warn:300:within')).toBe(0),
    );

    expect(subscriber.status().counters).toMatchObject({
      ...{ received: 1, handled: 1 },
    });
    expect(subscriber.status().groups[0]).toMatchObject({ dead: 0 });
    expect(await redis.xlen('rx:{g}:events')).toBe(0);
    expect(await redis.zcard('rx:{g}:index')).toBe(0);
  });
});

describe('warnings in broadcast', () => {
  it('that are due while the connection is away come late, if the key still lives', async () => {
    const { redis } = server;
    const { warnings, subscriber } = await warnedApp(server, 60_000);
    await live(redis, 's:lives', 60_600);
    await live(redis, 's:gone', 60_600);
    // It is known by now, and for a while nothing can be looked at.
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await redis.call('ACL', 'SETUSER', 'default', '-psubscribe', '-subscribe');
    await redis.del('s:gone');
    await eventually(async () =>
      expect(await redis.pttl('s:lives')).toBeLessThan(59_900),
    );
    expect(warnings.all).toEqual([]);
    await redis.call('ACL', 'SETUSER', 'default', '+@all');

    const event = await warnings.one();

    expect(event).toMatchObject({ key: 's:lives', source: 'recovery' });
    expect(event.lateness).toBeGreaterThan(50);
    expect(warnings.rest).toEqual([]);
    expect(subscriber.status().counters.recovered).toBe(1);
  });

  it('come to each instance', async () => {
    const { redis } = server;
    const apps = [
      await warnedApp(server, 60_000),
      await warnedApp(server, 60_000),
    ];

    await live(redis, 's:1', 60_200);

    for (const { warnings } of apps)
      expect((await warnings.one()).key).toBe('s:1');
  });
});
