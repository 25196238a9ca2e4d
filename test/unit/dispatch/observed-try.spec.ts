import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Observable, defer, of } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Expiry } from '../../../lib/dispatch/expiry.js';
import type { CallEnd } from '../../../lib/dispatch/call-end.js';
import { HandlerCall } from '../../../lib/dispatch/handler-call.js';
import {
  ObservedTry,
  ObserverErrors,
  type TryObserver,
} from '../../../lib/dispatch/observed-try.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import type { ExpiryTelemetry } from '../../../lib/index.js';
import { PROCESS_TIME } from '../../../lib/util/scheduler.js';
import { turns } from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';

type Process = NonNullable<ExpiryTelemetry['process']>;

const expiry: Expiry = {
  redisKey: Buffer.from('device:42'),
  key: Buffer.from('device:42'),
  database: 0,
  source: 'notification',
};
const broken = new Error('broken telemetry');
const failed = new Error('failed handler');
const never = new Promise<never>(() => undefined);

let logs: LogBook;
let ends: CallEnd[];
let calls: number;

beforeEach(() => {
  logs = new LogBook();
  ends = [];
  calls = 0;
});

/** One call of a handler, with this around it. */
function call(
  process: (...args: Parameters<Process>) => unknown,
  invoke: () => unknown = () => 'done',
  timeout?: number,
): void {
  const observer = { process } as TryObserver;
  new HandlerCall(
    {
      name: 'Devices.onOffline',
      glob: new RedisGlob('device:*'),
      concurrency: Infinity,
      invoke: () => {
        calls++;
        return invoke();
      },
      ...(timeout !== undefined && { timeout }),
    },
    ...([
      expiry,
      PROCESS_TIME,
      logs,
      (end: CallEnd) => ends.push(end),
    ] as const),
    new ObservedTry(observer, new ObserverErrors(logs)),
  ).start();
}

const complaints = (): string[] => logs.texts('error', 'telemetry.process');

describe('telemetry.process', () => {
  it('is given the event, the handler, and what runs it', async () => {
    const seen: unknown[] = [];
    call(async (event, handler, run) => {
      seen.push(event.key, handler, await run());
    });

    expect(ends).toEqual([{ result: 'done' }]);
    await turns();
    expect(seen).toEqual([
      'device:42',
      { name: 'Devices.onOffline', pattern: 'device:*' },
      'done',
    ]);
    expect(complaints()).toEqual([]);
  });

  it('leaves a handler that returns nothing to wait for synchronous', () => {
    call((_event, _handler, run) => run());

    expect(ends).toEqual([{ result: 'done' }]);
  });

  it.each([
    [
      'throws',
      () => {
        throw failed;
      },
    ],
    ['rejects', () => Promise.reject(failed)],
    ['errors as an Observable', () => defer(() => Promise.reject(failed))],
  ])('sees the error of a handler that %s', async (_how, invoke) => {
    let seen: unknown;
    call(async (_event, _handler, run) => {
      try {
        return await run();
      } catch (error) {
        seen = error;
        throw error;
      }
    }, invoke);

    await vi.waitFor(() => expect(ends).toEqual([{ thrown: failed }]));
    await turns();
    expect(seen).toBe(failed);
    expect(complaints()).toEqual([]);
  });

  it('sees a timeout, and what the handler does later is of no account', async () => {
    let seen: unknown;
    call(
      async (_event, _handler, run) =>
        run().catch((error: unknown) => (seen = error)),
      () => delay(60),
      10,
    );

    await vi.waitFor(() =>
      expect(seen).toMatchObject({ code: 'HANDLER_TIMEOUT' }),
    );
    await delay(70);
    expect(ends).toHaveLength(1);
  });

  it.each<[string, (...args: Parameters<Process>) => unknown, string]>([
    [
      'throws before it calls run',
      () => {
        throw broken;
      },
      'threw: broken telemetry',
    ],
    [
      'never calls run',
      () => Promise.resolve(),
      'did not call run before it returned',
    ],
    ['returns nothing', () => undefined, 'did not call run before it returned'],
    [
      'never settles and never calls run',
      () => never,
      'did not call run before it returned',
    ],
    [
      'calls run later',
      async (_e, _h, run) => {
        await turns();
        await run();
        await run();
      },
      'did not call run',
    ],
  ])(
    'that %s does without: the handler runs, once',
    async (_how, process, complaint) => {
      call(process);

      expect(ends).toEqual([{ result: 'done' }]);
      await turns(3);
      expect(calls).toBe(1);
      expect(ends).toHaveLength(1);
      expect(complaints()[0]).toContain(complaint);
      expect(complaints()[0]).toContain(
        'the handler’s outcome counts all the same',
      );
    },
  );

  it.each<[string, (...args: Parameters<Process>) => unknown, string[]]>([
    [
      'calls run twice',
      async (_e, _h, run) => {
        await run();
        await run();
      },
      [],
    ],
    [
      'returns something else',
      async (_e, _h, run) => {
        await run();
        return 7;
      },
      [],
    ],
    [
      'never settles',
      (_e, _h, run) => {
        void run();
        return never;
      },
      [],
    ],
    ['leaves the result of run alone', (_e, _h, run) => void run(), []],
    [
      'throws afterwards',
      (_e, _h, run) => {
        void run();
        throw broken;
      },
      ['threw: broken telemetry'],
    ],
    [
      'rejects afterwards',
      async (_e, _h, run) => {
        await run();
        throw broken;
      },
      ['rejected: broken telemetry'],
    ],
    [
      'is a thenable that throws',
      (_e, _h, run) => {
        void run();
        return {
          get then() {
            throw broken;
          },
        };
      },
      ['rejected: broken telemetry'],
    ],
  ])('that %s changes nothing of the outcome', async (_how, process, told) => {
    call(process);

    expect(ends).toEqual([{ result: 'done' }]);
    await turns(3);
    expect(calls).toBe(1);
    expect(ends).toHaveLength(1);
    expect(complaints()).toEqual(
      told.map((text) => expect.stringContaining(text) as string),
    );
  });

  it('that swallows the error of a handler does not make it handled', async () => {
    call(
      (_event, _handler, run) => run().catch(() => undefined),
      () => Promise.reject(failed),
    );

    await vi.waitFor(() => expect(ends).toEqual([{ thrown: failed }]));
  });

  it('of a handler that fails, and nobody looks at that, leaves no rejection unhandled', async () => {
    // Vitest fails on unhandled rejections.
    call(
      (_event, _handler, run) => void run(),
      () => Promise.reject(failed),
    );

    await vi.waitFor(() => expect(ends).toEqual([{ thrown: failed }]));
    await turns(3);
  });
});

describe('the asynchronous context of telemetry.process', () => {
  const context = new AsyncLocalStorage<string>();
  const within: Process = (_event, _handler, run) => context.run('span', run);

  it.each<[string, (see: () => void) => unknown]>([
    ['synchronous', (see) => see()],
    [
      'asynchronous',
      async (see) => {
        await turns();
        see();
      },
    ],
    [
      'an Observable',
      (see) =>
        defer(() => {
          see();
          return of(1);
        }),
    ],
    [
      'an Observable that is not of rxjs’ defer',
      (see) =>
        new Observable((o) => {
          see();
          o.complete();
        }),
    ],
  ])('is that of a handler that is %s', async (_how, work) => {
    let seen: string | undefined;
    call(within, () => work(() => (seen = context.getStore())));

    await vi.waitFor(() => expect(ends).toHaveLength(1));
    expect(seen).toBe('span');
  });

  it('is not that of what comes after the handler', async () => {
    const after: (string | undefined)[] = [];
    const push = ends.push.bind(ends);
    ends.push = (end) => {
      after.push(context.getStore());
      return push(end);
    };
    call(within);
    call(within, () => turns());

    await vi.waitFor(() => expect(ends).toHaveLength(2));
    expect(after).toEqual([undefined, undefined]);
  });
});

describe('what telemetry.process does wrong', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('is logged at once, and then once a minute, with how often it was', () => {
    const errors = new ObserverErrors(logs);
    errors.tell('threw: a', broken);
    for (let i = 0; i < 5; i++) errors.tell('threw: b');
    vi.advanceTimersByTime(60_001);
    errors.tell('threw: c');
    errors.tell('threw: d');

    expect(complaints()).toEqual([
      'telemetry.process threw: a; the handler’s outcome counts all the same',
      'telemetry.process threw: c (5 more since the last); the handler’s outcome counts all the same',
    ]);
  });
});
