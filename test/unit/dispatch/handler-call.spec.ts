import { Observable, concat, delay, of, throwError, timer } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Expiry } from '../../../lib/dispatch/expiry.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { HandlerCall } from '../../../lib/dispatch/handler-call.js';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { PROCESS_TIME } from '../../../lib/util/scheduler.js';
import { type Collector, collect } from '../../support/collect.js';
import { type Deferred, deferred, turns } from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';

const expiry: Expiry = {
  redisKey: Buffer.from('app:device:42'),
  key: Buffer.from('device:42'),
  database: 3,
  source: 'notification',
};

let logs: LogBook;
/** Whether it ended well, once for each time that it said so. */
let ends: Collector<boolean>;

beforeEach(() => {
  logs = new LogBook();
  ends = collect();
});

function run(
  invoke: (event: KeyExpiredEvent) => unknown,
  subject = expiry,
  timeout?: number,
): HandlerCall {
  const begun = new HandlerCall(
    {
      name: 'Devices.onOffline',
      glob: new RedisGlob('device:*'),
      concurrency: Infinity,
      invoke,
      ...(timeout !== undefined && { timeout }),
    },
    subject,
    PROCESS_TIME,
    logs,
    (end) => ends.add('result' in end),
  );
  begun.start();
  return begun;
}

/** What it said of its end so far, after anything late had its chance to come. */
async function endings(): Promise<boolean[]> {
  await turns(3);
  return ends.all;
}

describe('HandlerCall', () => {
  it('hands over the event', async () => {
    const events = collect<KeyExpiredEvent>();

    run(events.add);

    expect(events.all).toEqual([
      {
        key: 'device:42',
        keyBuffer: Buffer.from('device:42'),
        pattern: 'device:*',
        captures: ['42'],
        database: 3,
        source: 'notification',
        attempt: 1,
        signal: expect.any(AbortSignal) as unknown,
      },
    ]);
    expect(await endings()).toEqual([true]);
  });

  it('gives every event its own bytes, and holds no more than those', () => {
    const events = collect<KeyExpiredEvent>();
    const chunk = Buffer.alloc(100_000, 'device:42');
    run(events.add, { ...expiry, key: chunk.subarray(0, 9) });

    chunk.fill('x');

    const { keyBuffer } = events.all[0]!;
    expect(keyBuffer.toString()).toBe('device:42');
    expect(keyBuffer.buffer.byteLength).toBeLessThan(chunk.length);
  });

  it.each([undefined, null, 0, '', 'text', {}, { then: 'no function' }])(
    'is done at once when %j is returned',
    (result) => {
      run(() => result);

      expect(ends.all).toEqual([true]);
      expect(logs.lines).toEqual([]);
    },
  );

  it('waits for a promise', async () => {
    const { promise, resolve } = deferred();
    run(() => promise);
    expect(await endings()).toEqual([]);

    resolve();

    expect(await endings()).toEqual([true]);
  });

  it('waits for any thenable, and starts one that is lazy', async () => {
    let finish: (() => void) | undefined;
    run(() => ({
      then: (fulfilled: (value: unknown) => void) => {
        finish = () => fulfilled(undefined);
      },
    }));
    await turns();
    expect(ends.all).toEqual([]);

    finish!();

    expect(await endings()).toEqual([true]);
  });

  it('waits for the end of an Observable, however much it emits', async () => {
    const { promise, resolve } = deferred();
    const emitted: number[] = [];
    run(() =>
      concat(
        of(1, 2, 3),
        new Observable<number>((observer) => {
          emitted.push(4);
          void promise.then(() => observer.complete());
        }),
      ),
    );
    expect(await endings()).toEqual([]);
    expect(emitted).toEqual([4]);

    resolve();

    expect(await endings()).toEqual([true]);
  });

  it.each([
    ['that is empty', () => of()],
    ['that emits later', () => of(1).pipe(delay(5))],
    ['without a value', () => timer(5)],
  ])('is well with an Observable %s', async (_, make) => {
    run(make);

    await expect(ends.one()).resolves.toBe(true);
    expect(await endings()).toEqual([true]);
  });

  it.each<[what: string, invoke: () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('out of order');
      },
    ],
    ['rejects', () => Promise.reject(new Error('out of order'))],
    [
      'returns an Observable that fails',
      () =>
        concat(
          of(1),
          throwError(() => new Error('out of order')),
        ),
    ],
    [
      'returns a thenable that rejects',
      () => ({
        then: (_: unknown, rejected: (error: Error) => void) =>
          rejected(new Error('out of order')),
      }),
    ],
    [
      'returns a thenable that throws',
      () => ({
        then: () => {
          throw new Error('out of order');
        },
      }),
    ],
    [
      'returns an object whose then cannot be read',
      () => ({
        get then(): never {
          throw new Error('out of order');
        },
      }),
    ],
  ])('logs and counts a handler once that %s', async (_, invoke) => {
    run(invoke);

    expect(await endings()).toEqual([false]);
    expect(logs.lines).toMatchObject([
      {
        level: 'error',
        text: 'Devices.onOffline failed on key "device:42" (pattern "device:*"): out of order',
      },
    ]);
    expect(String(logs.lines[0]!.rest[0])).toContain('handler-call.spec.ts');
  });

  it('reports once what a thenable says twice', async () => {
    run(() => ({
      then: (
        fulfilled: (value: unknown) => void,
        rejected: (error: Error) => void,
      ) => {
        fulfilled(undefined);
        fulfilled(undefined);
        rejected(new Error('after all'));
      },
    }));

    expect(await endings()).toEqual([true]);
    expect(logs.lines).toEqual([]);
  });

  it.each<[thrown: unknown, shown: string]>([
    ['just text', 'just text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [{ code: 7 }, '[object Object]'],
    [new AggregateError([new Error('one'), new Error('two')]), 'one; two'],
  ])('copes with %o being thrown', async (thrown, shown) => {
    run(() => {
      throw thrown;
    });

    expect(await endings()).toEqual([false]);
    expect(logs.texts('error')).toEqual([
      `Devices.onOffline failed on key "device:42" (pattern "device:*"): ${shown}`,
    ]);
  });

  describe('with a timeout', () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => void vi.useRealTimers());
    });

    const timedOut = { name: 'RedisExpiryError', code: 'HANDLER_TIMEOUT' };

    it.each<[what: string, late: (held: Deferred) => void]>([
      ['never', () => undefined],
      ['well, but later', ({ resolve }) => resolve()],
      ['badly, and later', ({ reject }) => reject(new Error('late'))],
    ])('has failed once, though it ends %s', async (_, late) => {
      const held = deferred();
      const events = collect<KeyExpiredEvent>();
      run(
        (event) => {
          events.add(event);
          return held.promise;
        },
        expiry,
        30_000,
      );
      await vi.advanceTimersByTimeAsync(29_999);
      expect(await endings()).toEqual([]);
      expect(events.all[0]!.signal.aborted).toBe(false);

      await vi.advanceTimersByTimeAsync(1);

      expect(ends.all).toEqual([false]);
      expect(events.all[0]!.signal.reason).toMatchObject(timedOut);
      expect(logs.texts('error')).toEqual([
        'Devices.onOffline failed on key "device:42" (pattern "device:*"): it did not settle within 30000 ms (timeout), so this try has failed and event.signal is aborted',
      ]);
      late(held);
      expect(await endings()).toEqual([false]);
      expect(logs.lines).toHaveLength(1);
    });

    it('shows a signal that is aborted to who asks for it afterwards', async () => {
      const events = collect<KeyExpiredEvent>();
      run(
        (event) => {
          events.add(event);
          return deferred().promise;
        },
        expiry,
        1,
      );
      await vi.advanceTimersByTimeAsync(1);

      expect(events.all[0]!.signal.reason).toMatchObject(timedOut);
    });

    it('leaves an Observable', async () => {
      let isLeft = false;
      run(() => new Observable(() => () => (isLeft = true)), expiry, 1);
      await vi.advanceTimersByTimeAsync(1);

      expect(await endings()).toEqual([false]);
      expect(isLeft).toBe(true);
    });

    it.each<[what: string, invoke: () => unknown]>([
      ['returns', () => undefined],
      ['resolves', () => Promise.resolve()],
      ['completes', () => of(1)],
      [
        'throws',
        () => {
          throw new Error('no');
        },
      ],
      ['rejects', () => Promise.reject(new Error('no'))],
    ])('leaves no timer behind once it %s', async (_, invoke) => {
      run(invoke, expiry, 1_000);
      await endings();

      expect(vi.getTimerCount()).toBe(0);
      expect(ends.all).toHaveLength(1);
    });
  });

  it('goes on when it is given up, and has the reason', async () => {
    const held = deferred();
    const events = collect<KeyExpiredEvent>();
    const begun = run((event) => {
      events.add(event);
      return held.promise;
    });
    const { signal } = events.all[0]!;

    begun.abort(new Error('shut down'));

    expect(signal.reason).toMatchObject({ message: 'shut down' });
    expect(await endings()).toEqual([]);
    held.resolve();
    expect(await endings()).toEqual([true]);
  });

  it('keeps a key with line breaks on one log line', async () => {
    run(
      () => {
        throw new Error('no');
      },
      { ...expiry, key: Buffer.from('device:1\n2026 fake line') },
    );

    expect(await endings()).toEqual([false]);
    expect(logs.texts('error')[0]).not.toContain('\n');
  });
});
