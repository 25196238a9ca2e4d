import {
  type DynamicModule,
  Inject,
  Injectable,
  Module,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import { createApp, plain, redisExpiry } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { connect, expire, useServer } from '../support/servers.js';

const [a, b] = [useServer(), useServer()];

/** What ran, in the words of the handler that did. */
let ran: Collector<string>;

beforeEach(() => {
  ran = collect();
});

/** A class whose handler says its name. */
function handler(name: string): Type {
  @Injectable()
  class Handler {
    @OnKeyExpired('on:*')
    onExpired({ captures: [where] }: KeyExpiredEvent) {
      ran.add(`${name} on ${where}`);
    }
  }
  return Handler;
}

/** Starts the application, and lets a key expire on both servers; what ran because of that. */
async function runsOf(
  ...imports: NonNullable<ModuleMetadata['imports']>
): Promise<string[]> {
  const { logs } = await createApp({ imports });
  return runs(logs.texts('log', 'Mapped {').length);
}

/** The same, where it is running and so many handlers are expected to run. */
async function runs(count: number): Promise<string[]> {
  await a.expire('on:a');
  await b.expire('on:b');
  return (await ran.next(count)).toSorted();
}

const onA = (options = {}) => redisExpiry(a, { name: 'on-a', ...options });
const onB = (options = {}) => redisExpiry(b, { name: 'on-b', ...options });

describe('two forRoot with different servers', () => {
  it('each serve the handlers of the module that imports them', async () => {
    @Module({ imports: [onA()], providers: [handler('first')] })
    class First {}
    @Module({ imports: [onB()], providers: [handler('second')] })
    class Second {}
    const texts = await runsOf(First, Second);

    expect(texts).toEqual(['first on a', 'second on b']);
    expect((await a.subscriptions()).patterns).toBe(1);
    expect((await b.subscriptions()).patterns).toBe(1);
    const namesOnA = (await a.connections()).map(({ name }) => name);
    expect(new Set(namesOnA)).toEqual(new Set(['on-a']));
  });

  it('both serve the handlers of a module that imports both', async () => {
    @Module({ imports: [onA(), onB()], providers: [handler('root')] })
    class Root {}
    const texts = await runsOf(Root);

    expect(texts).toEqual(['root on a', 'root on b']);
  });

  it('serve the modules that import them by one that exports them', async () => {
    const expiry = onA();
    @Module({ imports: [expiry], exports: [expiry] })
    class Shared {}
    @Module({ imports: [Shared], providers: [handler('first')] })
    class First {}
    @Module({ imports: [onB()], providers: [handler('second')] })
    class Second {}
    const texts = await runsOf(First, Second);

    expect(texts).toEqual(['first on a', 'second on b']);
  });

  it('serve the modules that get them by more than one export', async () => {
    const expiry = onA();
    @Module({ imports: [expiry], exports: [expiry] })
    class Inner {}
    @Module({ imports: [Inner], exports: [Inner] })
    class Outer {}
    @Module({ imports: [Outer], providers: [handler('first')] })
    class First {
      // What the handler is served by is what may be injected.
      constructor(
        @Inject(RedisExpirySubscriber)
        readonly subscriber: RedisExpirySubscriber,
      ) {}
    }
    @Module({ imports: [onB()], providers: [handler('second')] })
    class Second {}
    const texts = await runsOf(First, Second);

    expect(texts).toEqual(['first on a', 'second on b']);
  });

  it('leave to the global one what imports neither', async () => {
    @Module({ providers: [handler('first')] })
    class First {}
    @Module({ imports: [onB()], providers: [handler('second')] })
    class Second {}
    const texts = await runsOf(onA({ isGlobal: true }), First, Second);

    expect(texts).toEqual(['first on a', 'second on b']);
  });

  it('leave to the nearest above what imports neither, without a global one', async () => {
    @Module({ providers: [handler('inner')] })
    class Inner {}
    @Module({ imports: [onB(), Inner], providers: [handler('outer')] })
    class Outer {}
    @Module({ providers: [handler('other')] })
    class Other {}
    @Module({ imports: [onA(), Outer, Other], providers: [handler('root')] })
    class Root {}
    const texts = await runsOf(Root);

    expect(texts).toEqual([
      'inner on b',
      'other on a',
      'outer on b',
      'root on a',
    ]);
  });

  it('look past modules that import neither on the way up', async () => {
    @Module({ providers: [handler('deepest')] })
    class Deepest {}
    @Module({ imports: [Deepest] })
    class Deeper {}
    @Module({ imports: [onB(), Deeper] })
    class Feature {}
    @Module({ imports: [onA(), Feature] })
    class Root {}
    const texts = await runsOf(Root);

    expect(texts).toEqual(['deepest on b']);
  });

  it('both serve a module that both their importers import', async () => {
    @Module({ providers: [handler('shared')] })
    class Shared {}
    @Module({ imports: [onA(), Shared] })
    class First {}
    @Module({ imports: [onB(), Shared] })
    class Second {}
    const texts = await runsOf(First, Second);

    expect(texts).toEqual(['shared on a', 'shared on b']);
  });

  it('are found where modules import one another', async () => {
    @Module({ providers: [handler('left')] })
    class Left {}
    @Module({ imports: [Left], providers: [handler('right')] })
    class Right {}
    Reflect.defineMetadata('imports', [Right], Left);
    @Module({ imports: [onB(), Left] })
    class Feature {}
    const texts = await runsOf(onA(), Feature);

    expect(texts).toEqual(['left on b', 'right on b']);
  });

  it('work with forRootAsync', async () => {
    const asyncOn = ({ url }: typeof a) =>
      RedisExpiryModule.forRootAsync({
        useFactory: () => Promise.resolve(plain({ connection: url })),
      });
    @Module({ imports: [asyncOn(a)], providers: [handler('first')] })
    class First {}
    @Module({ imports: [asyncOn(b)], providers: [handler('second')] })
    class Second {}
    const texts = await runsOf(First, Second);

    expect(texts).toEqual(['first on a', 'second on b']);
  });

  it('each have a subscriber, which their importers get', async () => {
    @Injectable()
    class Service {
      constructor(
        @Inject(RedisExpirySubscriber)
        readonly subscriber: RedisExpirySubscriber,
      ) {}
    }
    @Module({ imports: [onA()], providers: [Service] })
    class First {}
    @Module({ imports: [onB()], providers: [Service] })
    class Second {}
    const { app } = await createApp({ imports: [First, Second] });
    const [first, second] = [First, Second].map(
      (module) => app.select(module).get(Service, { strict: true }).subscriber,
    );

    expect(first).not.toBe(second);
    await first!.subscribe('on:*', ({ key }) => ran.add(`first ${key}`));
    await second!.subscribe('on:*', ({ key }) => ran.add(`second ${key}`));
    expect(await runs(2)).toEqual(['first on:a', 'second on:b']);
    expect(first!.status().nodes).toMatchObject([{ address: a.address }]);
    expect(second!.status().nodes).toMatchObject([{ address: b.address }]);
  });

  it('fail the start if one of them is not there, and leave nothing', async () => {
    const absent = redisExpiry(b, {
      connection: { port: 1, connectTimeout: 200 },
    });
    @Module({ imports: [onA()], providers: [handler('first')] })
    class First {}
    @Module({ imports: [absent], providers: [handler('second')] })
    class Second {}

    await expect(createApp({ imports: [First, Second] })).rejects.toMatchObject(
      { code: 'CONNECT_FAILED' },
    );
  });
});

describe('two forRoot with the same connection and group', () => {
  it.each<[how: string, first: () => object, second: () => object]>([
    ['forRoot', () => onA(), () => onA({ name: 'again', concurrency: 7 })],
    [
      'a default that is spelled out',
      () => onA({ connection: { port: a.port, retryStrategy: () => 1 } }),
      () =>
        onA({
          connection: { port: a.port, retryStrategy: () => 2 },
          namespace: 'rx',
        }),
    ],
    [
      'forRootAsync',
      () => onA(),
      () =>
        RedisExpiryModule.forRootAsync({
          useFactory: () => Promise.resolve(plain({ connection: a.url })),
        }),
    ],
    [
      'global ones',
      () => onA({ isGlobal: true }),
      () => onA({ isGlobal: true }),
    ],
  ])(
    'run what belongs to both once, and say so: %s',
    async (how, first, second) => {
      @Module({ providers: [handler('shared')] })
      class Shared {}
      @Module({
        imports: [first() as DynamicModule, Shared],
        providers: [handler('first')],
      })
      class First {}
      @Module({
        imports: [second() as DynamicModule, Shared],
        providers: [handler('second')],
      })
      class Second {}
      const { logs } = await createApp({ imports: [First, Second] });
      await a.expire('on:a');
      // By one subscription that was made after all: nothing comes later.
      expect((await ran.next(3)).toSorted()).toEqual([
        'first on a',
        'second on a',
        'shared on a',
      ]);
      await a.expire('on:end');
      expect((await ran.next(3)).toSorted()).toEqual([
        'first on end',
        'second on end',
        'shared on end',
      ]);
      expect(logs.texts('log', 'Mapped {')).toHaveLength(3);
      const isGlobal = how === 'global ones';
      expect(logs.texts('warn', 'forRoot')).toEqual([
        expect.stringMatching(
          isGlobal
            ? /called twice.*by every module, and by every module\..*Handler\.onExpired/
            : /called twice.*by First, and by Second\. .*run once, by the first: Handler\.onExpired\./,
        ),
      ]);
    },
  );

  it.each([
    ['groups', { group: 'one' }, { group: 'two' }],
    ['namespaces', { namespace: 'one' }, { namespace: 'two' }],
  ])(
    'but different %s both have what belongs to both, without a warning',
    async (_, first, second) => {
      const both = { punctual: true };
      @Module({
        imports: [onA({ ...both, ...first }), onA({ ...both, ...second })],
        providers: [handler('root')],
      })
      class Root {}
      const { logs } = await createApp({ imports: [Root] });
      await a.expire('on:a');

      expect(await ran.next(2)).toEqual(['root on a', 'root on a']);
      expect(logs.texts('warn', 'forRoot')).toEqual([]);
    },
  );
});

describe('two forRoot with different databases of a server', () => {
  it('each serve their own', async () => {
    const third = redisExpiry(a, { connection: `${a.url}/3` });
    @Module({ imports: [onA()], providers: [handler('first')] })
    class First {}
    @Module({ imports: [third], providers: [handler('second')] })
    class Second {}
    await createApp({ imports: [First, Second] });

    await a.expire('on:0');
    await expire(await connect(a, { db: 3 }), 'on:3');

    expect((await ran.next(2)).toSorted()).toEqual([
      'first on 0',
      'second on 3',
    ]);
  });
});
