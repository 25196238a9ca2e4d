import { Injectable, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { of } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  type KeyExpiredEvent,
  type KeyExpiringEvent,
  OnKeyExpired,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import {
  ExpiryTester,
  keyExpiredEvent,
  keyExpiringEvent,
} from '../../../lib/testing/index.js';
import { LogBook } from '../../support/logs.js';

/** What `work` does with each event of `device:*`. */
async function applicationOf(
  work: (event: KeyExpiredEvent) => unknown,
  options: RedisExpiryModuleOptions = {},
  handlerOptions: Parameters<typeof OnKeyExpired>[1] = {},
) {
  @Injectable()
  class Presence {
    @OnKeyExpired('device:*', handlerOptions)
    onOffline(event: KeyExpiredEvent): unknown {
      return work(event);
    }
  }

  @Module({
    imports: [
      // As an application has it: nothing listens there, and nothing is to be asked.
      RedisExpiryModule.forRootAsync({
        useFactory: () => ({ connection: 'redis://127.0.0.1:1', ...options }),
      }),
    ],
    providers: [Presence],
  })
  class AppModule {}

  const expiry = new ExpiryTester();
  const logs = new LogBook();
  const moduleRef = await expiry
    .install(Test.createTestingModule({ imports: [AppModule] }).setLogger(logs))
    .compile();
  onTestFinished(() => moduleRef.close());
  await moduleRef.init();
  return { expiry, logs, subscriber: moduleRef.get(RedisExpirySubscriber) };
}

describe('ExpiryTester.expire', () => {
  it('asks nobody where Redis is', async () => {
    const connection = (): never => {
      throw new Error('asked');
    };
    const { expiry } = await applicationOf(() => 'done', { connection });

    expect((await expiry.expire('device:1')).handled).toMatchObject([
      { result: 'done' },
    ]);
  });

  it('resolves with what the handler returned', async () => {
    const { expiry } = await applicationOf(({ captures }) =>
      Promise.resolve({ offline: captures[0] }),
    );

    expect(await expiry.expire('device:42')).toEqual({
      handled: [
        {
          handler: 'Presence.onOffline',
          pattern: 'device:*',
          attempt: 1,
          result: { offline: '42' },
        },
      ],
    });
  });

  it.each<[what: string, returned: unknown, result: unknown]>([
    ['nothing', undefined, undefined],
    ['a value', 7, 7],
    ['an Observable', of(1, 2), 2],
  ])('takes a handler that returns %s', async (_, returned, result) => {
    const { expiry } = await applicationOf(() => returned);

    const { handled } = await expiry.expire('device:1');

    expect(handled[0]!.result).toBe(result);
  });

  it('rejects with what the handler threw, as it is', async () => {
    const error = new Error('no such device');
    const { expiry, logs } = await applicationOf(() => {
      throw error;
    });

    await expect(expiry.expire('device:1')).rejects.toBe(error);
    expect(logs.texts('error')).toEqual([
      'Presence.onOffline failed on key "device:1" (pattern "device:*"): no such device',
    ]);
  });

  it('rejects with the errors of all where several fail', async () => {
    const { expiry, subscriber } = await applicationOf(() => {
      throw new Error('one');
    });
    await subscriber.subscribe('device:1', function second() {
      throw new Error('two');
    });

    await expect(expiry.expire('device:1')).rejects.toMatchObject({
      message: '2 handlers failed: Presence.onOffline, second',
      errors: [{ message: 'one' }, { message: 'two' }],
    });
  });

  it('rejects where no pattern matches, and says which there are', async () => {
    const { expiry } = await applicationOf(() => undefined);

    await expect(expiry.expire('devcie:1')).rejects.toMatchObject({
      code: 'NO_HANDLER',
      message:
        'No handler matches "devcie:1": there are Presence.onOffline (device:*).',
    });
  });

  it('rejects where no application was started, and says what is missing', async () => {
    await expect(new ExpiryTester().expire('k')).rejects.toThrow('install()');

    const expiry = new ExpiryTester();
    await expiry
      .install(
        Test.createTestingModule({ imports: [RedisExpiryModule.forRoot()] }),
      )
      .compile();
    await expect(expiry.expire('k')).rejects.toThrow('init()');
  });

  it.each([undefined, 7, null])('refuses %j as a key', async (key) => {
    await expect(
      new ExpiryTester().expire(key as unknown as string),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION_KEY' });
  });

  it('takes the bytes of a key that is no text', async () => {
    const key = Buffer.from([...Buffer.from('device:'), 0xff]);
    const keys: Buffer[] = [];
    const { expiry } = await applicationOf(({ keyBuffer }) => {
      keys.push(keyBuffer);
    });

    await expiry.expire(key);

    expect(keys).toEqual([key]);
  });

  it('reaches the handlers of every forRoot', async () => {
    const handled: string[] = [];
    @Module({ imports: [RedisExpiryModule.forRoot({ namespace: 'a' })] })
    class A {
      @OnKeyExpired('k')
      on(): void {
        handled.push('A');
      }
    }
    @Module({ imports: [RedisExpiryModule.forRoot({ namespace: 'b' })] })
    class B {
      @OnKeyExpired('k')
      on(): void {
        handled.push('B');
      }
    }
    const expiry = new ExpiryTester();
    const moduleRef = await expiry
      .install(
        Test.createTestingModule({ imports: [A, B], providers: [] }).setLogger(
          new LogBook(),
        ),
      )
      .compile();
    onTestFinished(() => moduleRef.close());
    await moduleRef.init();
    await expiry.expire('k').catch(() => undefined);

    expect(handled.toSorted()).toEqual(['A', 'B']);
  });
});

describe('ExpiryTester.advance', () => {
  afterEach(() => void vi.useRealTimers());

  it('lets a key run out that is not renewed', async () => {
    const { expiry } = await applicationOf(({ key }) => key);
    expiry.set('device:7', { ttl: 30_000 });
    expect(await expiry.advance(29_999)).toEqual({ handled: [] });
    expiry.set('device:7', { ttl: 30_000 });
    expect(await expiry.advance(30_000)).toEqual({ handled: [] });

    expect(await expiry.advance(1)).toEqual({
      handled: [
        {
          handler: 'Presence.onOffline',
          pattern: 'device:*',
          key: 'device:7',
          attempt: 1,
          result: 'device:7',
        },
      ],
    });
  });

  it('tells the deadline by its own clock', async () => {
    const events: KeyExpiredEvent[] = [];
    const { expiry } = await applicationOf((event) => events.push(event));
    const begun = expiry.now.getTime();
    expiry.set('device:1', { ttl: 60_000 });
    await expiry.advance(3_600_000);

    expect(events).toMatchObject([
      { deadline: new Date(begun + 60_000), lateness: 1 },
    ]);
    expect(expiry.now.getTime()).toBe(begun + 3_600_000);
  });

  it('leaves a key alone that is deleted, or written without a time to live', async () => {
    const { expiry } = await applicationOf(() => undefined);
    for (const key of ['device:1', 'device:2']) expiry.set(key, { ttl: 10 });
    expect(expiry.delete('device:1')).toBe(true);
    expect(expiry.delete('device:1')).toBe(false);
    expiry.set('device:2');

    expect(await expiry.advance(1_000)).toEqual({ handled: [] });
  });

  it('makes the tries of a group when they are due, and never rejects', async () => {
    const { expiry, subscriber } = await applicationOf(
      ({ attempt }) => {
        if (attempt < 3) throw new Error(`try ${attempt}`);
        return 'done';
      },
      { group: 'presence' },
    );
    const { handled } = await expiry.expire('device:1', { retry: true });
    expect(handled).toMatchObject([{ attempt: 1, error: new Error('try 1') }]);
    expect(subscriber.status().groups).toMatchObject([{ retrying: 1 }]);
    expect(await expiry.advance(999)).toEqual({ handled: [] });

    expect(await expiry.advance(1)).toMatchObject({
      handled: [{ attempt: 2, error: new Error('try 2'), key: 'device:1' }],
    });
    expect(await expiry.advance(2_000)).toMatchObject({
      handled: [{ attempt: 3, result: 'done' }],
    });
  });

  it('lets a handler use all of its timeout', async () => {
    const { expiry } = await applicationOf(
      () => new Promise(() => undefined),
      {},
      { timeout: 30_000 },
    );
    const expired = expiry.expire('device:1');
    expired.catch(() => undefined);
    await expiry.advance(29_999);
    await expiry.advance(1);

    await expect(expired).rejects.toMatchObject({ code: 'HANDLER_TIMEOUT' });
  });

  it('waits for what a handler waits for, before it goes on', async () => {
    const order: string[] = [];
    const { expiry } = await applicationOf(async ({ key }) => {
      order.push(`${key} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${key} ends`);
    });
    expiry.set('device:1', { ttl: 10 });
    expiry.set('device:2', { ttl: 11 });
    await expiry.advance(100);

    expect(order).toEqual([
      'device:1 begins',
      'device:1 ends',
      'device:2 begins',
      'device:2 ends',
    ]);
  });

  it('may be called while another call waits', async () => {
    const { expiry } = await applicationOf(async ({ key }) => {
      await new Promise((resolve) => setImmediate(resolve));
      return key;
    });
    expiry.set('device:1', { ttl: 10 });
    expiry.set('device:2', { ttl: 20 });

    const both = await Promise.all([expiry.advance(15), expiry.advance(30)]);

    expect(
      both.flatMap(({ handled }) => handled.map(({ result }) => result)),
    ).toHaveLength(2);
  });

  it('works under fake timers, and does not move them', async () => {
    // All that Jest's fake timers hold up.
    vi.useFakeTimers({
      toFake: [
        ...(['setTimeout', 'clearTimeout', 'setInterval'] as const),
        ...(['setImmediate', 'queueMicrotask', 'Date'] as const),
        ...(['performance'] as const),
      ],
    });
    const { expiry } = await applicationOf(({ key }) => key, {
      group: 'presence',
    });
    const before = Date.now();
    expiry.set('device:1', { ttl: 60_000 });

    const { handled } = await expiry.advance(60_001);

    expect(handled).toHaveLength(1);
    expect(Date.now()).toBe(before);
    await expiry.expire('device:2');
  });

  it.each([-1, Number.NaN, Infinity, '5'])('refuses %j', async (ms) => {
    await expect(
      new ExpiryTester().advance(ms as number),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION_MS' });
  });

  it.each([0, -1, 1.5, '5', null])('refuses a ttl of %j', (ttl) => {
    expect(() => new ExpiryTester().set('k', { ttl: ttl as number })).toThrow(
      /"ttl" is .*whole milliseconds/,
    );
  });
});

describe('values in the test kit', () => {
  it('are shown in the form that the handler asks for', async () => {
    const seen: unknown[] = [];
    const { expiry, subscriber } = await applicationOf(() => undefined);
    for (const value of ['json', 'text', 'buffer', 'hash'] as const)
      await subscriber.subscribe('v', (event) => seen.push(event.value), {
        value,
      });
    const shown = () => seen.splice(0);

    await expiry.expire('v', { value: { battery: 3 } });
    const text = '{"battery":3}';
    expect(shown()).toEqual([
      { battery: 3 },
      text,
      Buffer.from(text),
      undefined,
    ]);
    await expiry.expire('v', { hash: { battery: '3' } });
    expect(shown()).toEqual([
      undefined,
      undefined,
      undefined,
      { battery: '3' },
    ]);
    await expiry.expire('v', { value: Buffer.from([255]) });
    expect(shown()).toEqual([
      undefined,
      '\uFFFD',
      Buffer.from([255]),
      undefined,
    ]);
    await expiry.expire('v', { value: 0 });
    expect(shown()).toEqual([0, '0', Buffer.from('0'), undefined]);
    // Nobody says what it held.
    await expiry.expire('v');
    expect(shown()).toEqual([undefined, undefined, undefined, undefined]);
    expiry.set('v', { value: 'null' });
    await expiry.expire('v');
    expect(shown()).toEqual([null, 'null', Buffer.from('null'), undefined]);
    expiry.set('v', { value: 'x'.repeat(4_097), ttl: 5 });
    await expiry.advance(6);
    expect(shown()).toEqual([undefined, undefined, undefined, undefined]);
    expect(subscriber.status().counters.valuesTooLong).toBe(1);
  });

  it.each([
    ['value', { value: 1n }, '1; accepted: a text'],
    ['value', { value: () => undefined }, 'a function; accepted: a text'],
    ['hash', { hash: { a: 1 } }, '{ a }; accepted: an object of texts'],
    ['hash', { hash: null }, 'null; accepted: an object of texts'],
    [
      'hash',
      { value: 'a', hash: {} },
      '{}; accepted: either a value or a hash',
    ],
  ])('refuses a %s that no key holds: %o', async (option, given, why) => {
    const { expiry } = await applicationOf(() => undefined);
    const held = given as { value: string };
    const refusal = `Option "${option}" is ${why}`;

    expect(() => expiry.set('k', held)).toThrow(refusal);
    await expect(expiry.expire('device:1', held)).rejects.toThrow(refusal);
  });
});

describe('an application in the test kit', () => {
  it('hears keyspace channels of what expires', async () => {
    const { expiry, subscriber } = await applicationOf(() => undefined);
    const heard: string[] = [];
    await subscriber.psubscribe('__key*@0__:*', (_, channel, message) =>
      heard.push(`${channel} ${message}`),
    );

    await expiry.expire('device:1');

    expect(heard).toEqual([
      '__keyspace@0__:device:1 expired',
      '__keyevent@0__:expired device:1',
    ]);
  });

  it('refuses what a bad option is refused with', async () => {
    await expect(
      applicationOf(() => undefined, { concurrency: 0 }),
    ).rejects.toMatchObject({ code: 'INVALID_OPTION_CONCURRENCY' });
  });

  it('is shut down as in production: signals are aborted, and what comes then is refused', async () => {
    const signals: AbortSignal[] = [];
    const expiry = new ExpiryTester();
    @Injectable()
    class Hanging {
      @OnKeyExpired('k')
      on({ signal }: KeyExpiredEvent): Promise<void> {
        signals.push(signal);
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => resolve()),
        );
      }
    }
    const moduleRef = await expiry
      .install(
        Test.createTestingModule({
          imports: [RedisExpiryModule.forRoot()],
          providers: [Hanging],
        }).setLogger(new LogBook()),
      )
      .compile();
    await moduleRef.init();
    const subscriber = moduleRef.get(RedisExpirySubscriber);
    const begun = expiry.now.getTime();
    expiry.set('later', { ttl: 60_000 });
    const expired = expiry.expire('k');
    await vi.waitFor(() => expect(signals).toHaveLength(1));

    await moduleRef.close();

    expect(signals[0]!.reason).toMatchObject({ code: 'CLOSED' });
    // Shutdown waits for shutdownTimeout, and lets no key expire that lives longer.
    expect(expiry.now.getTime() - begun).toBe(10_000);
    expect(expiry.delete('later')).toBe(true);
    await expired;
    await expect(
      subscriber.subscribe('k', () => undefined),
    ).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('keyExpiredEvent', () => {
  it('is complete', () => {
    const deadline = new Date('2026-01-01T00:00:00Z');

    expect(
      keyExpiredEvent('device:42', {
        pattern: 'device:*',
        group: 'presence',
        deadline,
      }),
    ).toEqual({
      key: 'device:42',
      keyBuffer: Buffer.from('device:42'),
      pattern: 'device:*',
      captures: ['42'],
      database: 0,
      deadline,
      lateness: 0,
      source: 'notification',
      attempt: 1,
      group: 'presence',
      id: `device:42@${deadline.getTime()}`,
      signal: expect.any(AbortSignal) as unknown,
    });
  });

  it('needs the key alone, whatever is in it', () => {
    expect(keyExpiredEvent('a[1]*')).toMatchObject({
      key: 'a[1]*',
      pattern: String.raw`a\[1]\*`,
      captures: [],
    });
  });
});

describe('ExpiryTester.advance with handlers of warnings', () => {
  async function warnedOf(work: (event: KeyExpiringEvent) => unknown) {
    const { expiry, subscriber } = await applicationOf(() => 'expired');
    await subscriber.subscribeExpiring('device:*', { before: 1_000 }, work);
    return expiry;
  }

  it('warns once for each deadline, when the time left falls to before', async () => {
    const expiry = await warnedOf(({ remaining, lateness, deadline }) => [
      ...[remaining, lateness, deadline.getTime() - expiry.now.getTime()],
    ]);
    expiry.set('device:1', { ttl: 3_000 });
    expiry.set('device:short', { ttl: 1_000 });

    const first = await expiry.advance(1_999);
    expect(first.handled.map(({ key }) => key)).toEqual(['device:short']);
    const [warning] = (await expiry.advance(1)).handled;
    expect(warning).toMatchObject({
      key: 'device:1',
      result: [1_000, 0, 1_000],
    });
    expiry.set('device:1', { ttl: 2_000 });
    const { handled } = await expiry.advance(2_001);
    expect(handled.map(({ handler, result }) => [handler, result])).toEqual([
      ['subscribeExpiring()', [1_000, 0, 1_000]],
      ['Presence.onOffline', 'expired'],
    ]);
  });

  it('warns of keys that lived before somebody asked, and at once where their time is shortened', async () => {
    const { expiry, subscriber } = await applicationOf(() => 'expired');
    expiry.set('device:1', { ttl: 3_000 });
    expiry.set('device:short', { ttl: 900 });
    await subscriber.subscribeExpiring('device:*', { before: 1_000 }, () => 0);
    expiry.set('device:2', { ttl: 9_000 });
    expiry.set('device:2', { ttl: 500 });

    const { handled } = await expiry.advance(2_500);

    expect(handled.map(({ key, result }) => [key, result])).toEqual([
      ['device:2', 0],
      ['device:2', 'expired'],
      ['device:short', 'expired'],
      ['device:1', 0],
    ]);
  });

  it('gives the value of the living key, in the form that is asked for', async () => {
    const { expiry, subscriber } = await applicationOf(() => 'expired');
    await subscriber.subscribeExpiring(
      'device:*',
      { before: 1_000, value: 'json' },
      ({ value, valueAge }) => [value, valueAge],
    );
    expiry.set('device:1', { ttl: 3_000, value: { battery: 3 } });

    const { handled } = await expiry.advance(2_000);

    expect(handled).toMatchObject([{ result: [{ battery: 3 }, 1_000] }]);
  });

  it('warns of no key that is deleted or made to last in time', async () => {
    const expiry = await warnedOf(() => 0);
    expiry.set('device:1', { ttl: 3_000 });
    expiry.set('device:2', { ttl: 3_000 });
    expiry.delete('device:1');
    expiry.set('device:2');

    expect((await expiry.advance(4_000)).handled).toEqual([]);
  });
});

describe('keyExpiringEvent', () => {
  it('is complete', () => {
    const event = keyExpiringEvent('session:42', { pattern: 'session:*' });

    expect(event).toMatchObject({
      ...{ key: 'session:42', captures: ['42'], lateness: 0, attempt: 1 },
      ...{ remaining: 60_000, source: 'notification' },
    });
    const left = event.deadline.getTime() - Date.now();
    expect(left).toBeGreaterThan(59_000);
    expect(left).toBeLessThanOrEqual(60_000);
  });

  it('takes what is given, and has what follows from it', () => {
    const deadline = new Date(Date.now() + 5_000);
    const given = keyExpiringEvent('s', { deadline, group: 'g', attempt: 2 });

    expect(given.remaining).toBeGreaterThan(4_000);
    expect(given.remaining).toBeLessThanOrEqual(5_000);
    expect(given).toMatchObject({ deadline, group: 'g', attempt: 2 });
    expect(given.id).toMatch(new RegExp(`^s@${deadline.getTime()}-\\d+$`));
  });
});
