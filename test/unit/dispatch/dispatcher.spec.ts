import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ExpiryCounters,
  newCounters,
} from '../../../lib/dispatch/counters.js';
import {
  type AliveCheck,
  Dispatcher,
  type DispatcherOptions,
} from '../../../lib/dispatch/dispatcher.js';
import type { Delivery } from '../../../lib/dispatch/run-gate.js';
import type { Expiry, ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import type { KeyExpiredEvent } from '../../../lib/dispatch/key-expired-event.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import type { KeyDeadline } from '../../../lib/dispatch/superseded.js';
import {
  type Deferred,
  deferred,
  eventually,
  turns,
} from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';
import { Random } from '../../support/random.js';

/** The keys that exist, as a test says. */
class Keys implements AliveCheck {
  placeOf(): string {
    return '';
  }

  readonly living = new Set<string>();
  /** When keys run out that warnings are about. */
  readonly deadlinesOf = new Map<string, KeyDeadline>();
  /** How many keys each question was about. */
  readonly asked: number[] = [];
  /** What an answer waits for. */
  gate: () => Promise<void> = () => Promise.resolve();

  async deadlines(keys: readonly Buffer[]): Promise<KeyDeadline[]> {
    await this.gate();
    return keys.map((key) => this.deadlinesOf.get(key.toString()) ?? 'gone');
  }

  async alive(keys: readonly Buffer[]): Promise<ReadonlySet<number>> {
    this.asked.push(keys.length);
    await this.gate();
    return new Set(
      keys.flatMap((key, i) => (this.living.has(key.toString()) ? [i] : [])),
    );
  }
}

/** A handler whose every run ends when the test says so. */
class Held implements ExpiryHandler {
  readonly name: string;
  readonly glob = new RedisGlob('*');
  readonly started: string[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #open: Deferred<unknown>[] = [];

  constructor(
    name: string,
    readonly concurrency = Infinity,
    private readonly order: string[] = [],
  ) {
    this.name = name;
  }

  get running(): number {
    return this.#open.length;
  }

  invoke = ({ key, signal }: KeyExpiredEvent): Promise<unknown> => {
    this.started.push(key);
    this.signals.push(signal);
    this.order.push(`${this.name} ${key}`);
    const run = deferred<unknown>();
    this.#open.push(run);
    return run.promise;
  };

  /** Ends the oldest run. */
  end(error?: Error): void {
    const run = this.#open.shift()!;
    if (error) run.reject(error);
    else run.resolve(undefined);
  }
}

let counters: ExpiryCounters;
let keys: Keys;
let logs: LogBook;
let dispatcher: Dispatcher;

function make(options: Partial<DispatcherOptions> = {}): Dispatcher {
  dispatcher = new Dispatcher(
    { concurrency: 100, queueLimit: 1_000, ...options },
    keys,
    counters,
    logs,
  );
  return dispatcher;
}

const offer = (handler: ExpiryHandler, ...names: string[]): void =>
  names.forEach((name) => dispatcher.offer(handler, expiryOf(name)));

const expiryOf = (name: string): Expiry => ({
  redisKey: Buffer.from(name),
  key: Buffer.from(name),
  database: 0,
  source: 'notification',
});

/** Enough for whatever can go on without a test's doing. */
const settled = () => turns(6);

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

function expectBalance(): void {
  const { received, handled, failed, superseded, dropped } = counters;
  const { queued, running } = dispatcher;
  expect(received).toBe(
    handled + failed + superseded + dropped + queued + running,
  );
  expect(queued).toBeGreaterThanOrEqual(0);
  expect(running).toBeGreaterThanOrEqual(0);
}

beforeEach(() => {
  counters = newCounters();
  keys = new Keys();
  logs = new LogBook();
});

afterEach(() => expectBalance());

describe('Dispatcher', () => {
  it('runs the handler for every event, in order', async () => {
    make();
    const handler = new Held('a');
    offer(handler, ...numbers(1, 50));
    expect(handler.started).toEqual([]);
    expect(dispatcher.queued).toBe(50);

    await eventually(() => expect(handler.started).toEqual(numbers(1, 50)));

    expect(dispatcher).toMatchObject({ queued: 0, running: 50 });
    while (handler.running > 0) handler.end();
    await settled();
    expect(counters).toMatchObject({ received: 50, handled: 50 });
    expect(dispatcher).toMatchObject({ queued: 0, running: 0 });
  });

  it('never runs user code, nor throws, within offer', async () => {
    make();
    const handler: ExpiryHandler = {
      name: 'a',
      glob: new RedisGlob('*'),
      concurrency: 1,
      invoke: () => {
        throw new Error('no');
      },
    };

    offer(handler, '1');

    expect(counters).toMatchObject({ received: 1, failed: 0 });
    await eventually(() => expect(counters.failed).toBe(1));
  });

  it('asks once whether keys are alive for all that came together', async () => {
    make();
    offer(new Held('a'), ...numbers(1, 20));
    offer(new Held('b'), ...numbers(1, 20));
    await settled();

    expect(keys.asked).toEqual([40]);
  });

  it('counts what fails, and goes on', async () => {
    make({ concurrency: 1 });
    const handler = new Held('a');
    offer(handler, '1', '2');
    await settled();

    handler.end(new Error('broken'));
    await settled();

    expect(counters).toMatchObject({ handled: 0, failed: 1 });
    expect(logs.texts('error')).toEqual([
      'a failed on key "1" (pattern "*"): broken',
    ]);
    expect(handler.started).toEqual(['1', '2']);
    handler.end();
    await settled();
    expect(counters).toMatchObject({ handled: 1, failed: 1 });
  });

  describe('concurrency', () => {
    it('bounds all handlers together', async () => {
      make({ concurrency: 3 });
      const [a, b] = [new Held('a'), new Held('b')];
      offer(a, ...numbers(1, 4));
      offer(b, ...numbers(1, 4));
      for (let ended = 0; ended < 8; ended++) {
        await settled();
        const running = a.running + b.running;
        expect(running).toBe(Math.min(3, 8 - ended));
        expect(dispatcher.running).toBe(running);
        expect(dispatcher.queued).toBe(8 - ended - running);
        (a.running >= b.running ? a : b).end();
      }
      await settled();
      expect(counters.handled).toBe(8);
    });

    it('bounds one handler, and holds up no other', async () => {
      make({ concurrency: 10 });
      const [slow, quick] = [new Held('slow', 1), new Held('quick')];
      offer(slow, ...numbers(1, 5));
      await settled();
      offer(quick, ...numbers(1, 5));
      await settled();

      expect(slow.started).toEqual(['1']);
      expect(quick.started).toEqual(numbers(1, 5));

      slow.end();
      await settled();
      expect(slow.started).toEqual(['1', '2']);
      expect(slow.running).toBe(1);
    });

    it('lets handlers take turns, however long the queue of one is', async () => {
      make({ concurrency: 1 });
      const order: string[] = [];
      const a = new Held('a', 5, order);
      const b = new Held('b', 5, order);
      offer(a, ...numbers(1, 100));
      await settled();
      offer(b, '1', '2');
      for (let i = 0; i < 6; i++) {
        await settled();
        (a.running > 0 ? a : b).end();
      }
      await settled();

      expect(order.slice(0, 6)).toEqual([
        'a 1',
        'a 2',
        'b 1',
        'a 3',
        'b 2',
        'a 4',
      ]);
    });
  });

  describe('superseded', () => {
    it('is a warning whose key is gone, has another deadline or none', async () => {
      make();
      const handler = new Held('a');
      const warn = (name: string, now: KeyDeadline): void => {
        keys.deadlinesOf.set(name, now);
        dispatcher.offer(handler, {
          ...{ ...expiryOf(name), before: 5_000, lateness: 1 },
          deadline: new Date(100_000),
        });
      };
      warn('same', 100_000);
      warn('renewed', 101_000);
      warn('shortened', 99_000);
      warn('shifted by a move', 100_150);
      warn('gone', 'gone');
      warn('lasting', 'never');
      warn('forbidden', 'unknown');
      // Of an expiry it is asked whether the key lives.
      offer(handler, 'expired');
      await settled();

      expect(handler.started).toEqual([
        ...['same', 'shifted by a move', 'forbidden', 'expired'],
      ]);
      expect(counters.superseded).toBe(4);
    });

    it('does not hand over keys that are alive, and counts them', async () => {
      make();
      const handler = new Held('a');
      keys.living.add('2').add('4');
      offer(handler, ...numbers(1, 4));
      await settled();

      expect(handler.started).toEqual(['1', '3']);
      expect(counters).toMatchObject({ received: 4, superseded: 2 });
      expect(dispatcher.running).toBe(2);
    });

    it('looks when the turn has come, and not before', async () => {
      make({ concurrency: 1 });
      const handler = new Held('a');
      offer(handler, '1', '2', '3');
      await settled();
      keys.living.add('2');

      handler.end();
      await settled();

      expect(handler.started).toEqual(['1', '3']);
      expect(counters).toMatchObject({ handled: 1, superseded: 1 });
    });

    it('counts events whose keys nobody can be asked about as dropped', async () => {
      make();
      keys.gate = () => Promise.reject(new Error('closed'));
      const handler = new Held('a');
      offer(handler, '1', '2');
      await settled();

      expect(handler.started).toEqual([]);
      expect(counters).toMatchObject({ received: 2, dropped: 2 });
      expect(dispatcher).toMatchObject({ queued: 0, running: 0 });
    });
  });

  describe('queueLimit', () => {
    it('drops what comes beyond it, counts each and logs once', async () => {
      make({ concurrency: 1, queueLimit: 4 });
      const handler = new Held('a');
      offer(handler, '1');
      await settled();

      offer(handler, ...numbers(2, 9));

      expect(dispatcher).toMatchObject({ queued: 4, running: 1 });
      expect(counters).toMatchObject({ received: 9, dropped: 4 });
      expect(logs.texts('error')).toHaveLength(1);
      expect(logs.texts('error')[0]).toContain('queueLimit 4');
      for (let i = 0; i < 5; i++) {
        await settled();
        handler.end();
      }
      await settled();
      expect(handler.started).toEqual(numbers(1, 5));
    });

    it('counts what waits for all handlers together', async () => {
      make({ concurrency: 1, queueLimit: 4 });
      const [a, b] = [new Held('a'), new Held('b')];
      offer(a, '1', '2', '3');
      offer(b, '1', '2', '3');

      expect(dispatcher.queued).toBe(4);
      expect(counters.dropped).toBe(2);
      await settled();
    });

    it('logs each episode once, and its end', async () => {
      make({ concurrency: 1, queueLimit: 2 });
      const handler = new Held('a');
      const finish = async () => {
        for (let i = 0; i < 10; i++) {
          await settled();
          if (handler.running > 0) handler.end();
        }
      };

      for (let episode = 1; episode <= 3; episode++) {
        offer(handler, ...numbers(1, 6));
        expect(logs.texts('error')).toHaveLength(episode);
        expect(logs.texts('warn')).toHaveLength(episode - 1);
        await finish();
        expect(logs.texts('warn')).toHaveLength(episode);
      }

      expect(counters).toMatchObject({ handled: 6, dropped: 12 });
    });
  });

  describe('drain', () => {
    it('resolves at once when there is nothing to wait for', async () => {
      make();
      await dispatcher.drain(60_000);

      expect(logs.lines).toEqual([]);
    });

    it('waits for what is queued and running', async () => {
      make({ concurrency: 1 });
      const handler = new Held('a');
      offer(handler, '1', '2');
      let drained = false;
      const draining = dispatcher.drain(60_000).then(() => (drained = true));

      await settled();
      expect(handler.started).toEqual(['1']);
      handler.end();
      await settled();
      expect(handler.started).toEqual(['1', '2']);
      expect(drained).toBe(false);

      handler.end();
      await draining;
      expect(counters).toMatchObject({ handled: 2, dropped: 0 });
      expect(logs.lines).toEqual([]);
    });

    it('drops what comes later, without calling that a full queue', async () => {
      make();
      const handler = new Held('a');
      await dispatcher.drain(60_000);

      offer(handler, '1', '2');
      await settled();

      expect(handler.started).toEqual([]);
      expect(counters).toMatchObject({ received: 2, dropped: 2 });
      expect(logs.lines).toEqual([]);
    });

    it('gives up after the time it was given, and says what was lost', async () => {
      make({ concurrency: 2 });
      const handler = new Held('a');
      offer(handler, ...numbers(1, 5));
      await settled();
      const start = performance.now();

      await dispatcher.drain(50);

      expect(performance.now() - start).toBeGreaterThanOrEqual(45);
      expect(logs.texts('warn')).toEqual([
        expect.stringMatching(/50 ms: 2 event.* in flight, 3 waiting/),
      ]);
      expect(counters).toMatchObject({ dropped: 3 });
      expect(dispatcher).toMatchObject({ queued: 0, running: 2 });
      expect(handler.signals.map(({ reason }) => reason as unknown)).toEqual(
        Array.from({ length: 2 }, () =>
          expect.objectContaining({ code: 'CLOSED' }),
        ),
      );
      expectBalance();

      handler.end();
      handler.end();
      await settled();
      expect(handler.started).toEqual(['1', '2']);
      expect(counters).toMatchObject({ handled: 2, dropped: 3 });
    });

    it('with no time at all still lets the process go on', async () => {
      make();
      const handler = new Held('a');
      offer(handler, '1');

      await dispatcher.drain(0);
      await settled();

      expectBalance();
      expect(dispatcher.queued).toBe(0);
    });

    it('does not wait for a handler that was removed meanwhile', async () => {
      make();
      const handler = new Held('a');
      offer(handler, '1');
      // A test that waited for it would not end.
      const draining = dispatcher.drain(3_600_000);

      dispatcher.remove(handler);
      await draining;

      expect(counters).toMatchObject({ received: 1, dropped: 1 });
    });
  });

  describe('remove', () => {
    it('drops what waits, and lets what runs end', async () => {
      make({ concurrency: 1 });
      const [a, b] = [new Held('a'), new Held('b')];
      offer(a, '1', '2', '3');
      await settled();
      offer(b, '1');

      dispatcher.remove(a);

      expect(counters).toMatchObject({ dropped: 2 });
      expect(dispatcher).toMatchObject({ queued: 1, running: 1 });
      a.end();
      await settled();
      expect(a.started).toEqual(['1']);
      expect(b.started).toEqual(['1']);
      expect(counters).toMatchObject({ handled: 1, dropped: 2 });
    });

    it('of a handler that has nothing, or is not known, changes nothing', async () => {
      make();
      const handler = new Held('a');
      dispatcher.remove(handler);
      offer(handler, '1');
      await settled();
      handler.end();
      await settled();

      dispatcher.remove(handler);
      dispatcher.remove(handler);

      expect(counters).toMatchObject({ received: 1, handled: 1, dropped: 0 });
    });

    it('makes room in the queue', async () => {
      make({ concurrency: 1, queueLimit: 3 });
      const [a, b] = [new Held('a', 1), new Held('b')];
      offer(a, '1', '2', '3');

      dispatcher.remove(a);
      offer(b, '1', '2', '3');

      expect(counters).toMatchObject({ dropped: 3 });
      await settled();
      expect(b.started).toEqual(['1']);
    });

    it('does not call a handler whose turn came when it was removed', async () => {
      make();
      const handler = new Held('a');
      const asked = deferred();
      keys.gate = () => asked.promise;
      offer(handler, '1');
      await settled();
      expect(dispatcher.running).toBe(1);

      dispatcher.remove(handler);
      asked.resolve();
      await settled();

      expect(handler.started).toEqual([]);
      expect(counters).toMatchObject({ received: 1, dropped: 1 });
    });

    it('counts nothing twice after a drain that gave up', async () => {
      make({ concurrency: 1 });
      const handler = new Held('a');
      offer(handler, '1', '2', '3');
      await settled();
      await dispatcher.drain(1);
      expect(counters.dropped).toBe(2);

      dispatcher.remove(handler);

      expect(counters.dropped).toBe(2);
      expect(dispatcher.queued).toBe(0);
    });
  });

  it('accounts for every event at any time, whatever happens', async () => {
    const random = new Random(42);
    let mostRunning = 0;
    for (let round = 0; round < 40; round++) {
      counters = newCounters();
      logs = new LogBook();
      const limits = { concurrency: 1 + random.below(4), queueLimit: 8 };
      make(limits);
      const handlers = [new Held('a'), new Held('b', 1), new Held('c', 2)];
      for (let step = 0; step < 120; step++) {
        const handler = random.pick(handlers);
        const key = `${random.below(10)}`;
        switch (random.below(9)) {
          case 0:
            keys.living.add(key);
            break;
          case 1:
            keys.living.delete(key);
            break;
          case 2:
            await turns();
            break;
          case 3:
            await settled();
            break;
          case 4:
            if (handler.running > 0) handler.end();
            break;
          case 5:
            if (handler.running > 0) handler.end(new Error('no'));
            break;
          case 6:
            if (random.below(10) === 0) dispatcher.remove(handler);
            break;
          default:
            offer(handler, key);
        }
        expectBalance();
        mostRunning = Math.max(mostRunning, dispatcher.running);
        expect(dispatcher.running).toBeLessThanOrEqual(limits.concurrency);
        expect(dispatcher.queued).toBeLessThanOrEqual(limits.queueLimit);
      }
      // Nothing may be stuck: with every run ended, everything must end.
      await eventually(() => {
        for (const handler of handlers)
          while (handler.running > 0) handler.end();
        expect(dispatcher).toMatchObject({ queued: 0, running: 0 });
      });
      expectBalance();
    }
    expect(mostRunning).toBe(4);
  });

  describe('a gate', () => {
    it('is asked once for all that are about to run, and keeps some from running', async () => {
      make({ concurrency: 3 });
      const handler = new Held('a');
      const asked: Delivery[][] = [];
      const answer = deferred();
      const gate = {
        admit: async (deliveries: readonly Delivery[]) => {
          asked.push([...deliveries]);
          await answer.promise;
          return new Map([[deliveries[1]!, 'dropped' as const]]);
        },
      };
      const ends: string[] = [];
      const deliveries = numbers(1, 4).map((name) => ({
        gate,
        ended: (outcome: string) => ends.push(`${name} ${outcome}`),
      }));
      deliveries.forEach((delivery, i) =>
        dispatcher.offer(handler, expiryOf(`${i + 1}`), delivery),
      );
      await settled();
      // The fourth has no place yet.
      expect(asked).toEqual([deliveries.slice(0, 3)]);
      expect(handler.started).toEqual([]);

      answer.resolve();
      await settled();
      expect(handler.started).toEqual(['1', '3', '4']);
      expect(ends).toEqual(['2 dropped']);
      while (handler.running > 0) handler.end();
      await settled();
      expect(counters).toMatchObject({ handled: 3, dropped: 1 });
    });
  });
});
