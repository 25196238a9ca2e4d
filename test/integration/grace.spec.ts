import { describe, expect, it } from 'vitest';
import {
  type ExpiryCounters,
  type KeyExpiredEvent,
  type OnKeyExpiredOptions,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { handler } from '../support/group/app.js';
import { useServer } from '../support/servers.js';

/** An event, and when its handler began; epoch ms by the clock that Redis has as well. */
type Handled = KeyExpiredEvent & { at: number };

const MODES: readonly [string, RedisExpiryModuleOptions][] = [
  ['broadcast', {}],
  ['a group', { group: 'presence' }],
];

describe.each(MODES)('grace in %s', (mode, options) => {
  const server = useServer();
  const isGroup = mode !== 'broadcast';

  async function start(
    handlerOptions: OnKeyExpiredOptions,
    more: RedisExpiryModuleOptions = {},
  ) {
    const events: Collector<Handled> = collect();
    const keep = (event: KeyExpiredEvent): void =>
      events.add({ ...event, at: Date.now() });
    const app = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: server.url,
          shutdownTimeout: 3_000,
          ...options,
          ...more,
        }),
      ],
      providers: [handler('device:*', keep, handlerOptions)],
    });
    /** Resolves when so many expiries wait for the grace. */
    const waiting = (count: number): Promise<void> =>
      eventually(async () =>
        expect(
          isGroup
            ? await server.redis.zcard('rx:{presence}:grace')
            : app.subscriber.status().inGrace,
        ).toBe(count),
      );
    /** Resolves when this is what became of all events. */
    const counts = (expected: Partial<ExpiryCounters>): Promise<void> =>
      eventually(() =>
        expect(app.subscriber.status().counters).toMatchObject(expected),
      );
    /** A key ran out, and that waits. */
    const away = async (key: string, ttl = 100): Promise<number> => {
      const deadline = await set(key, ttl);
      await waiting(1);
      return deadline;
    };
    return { ...app, events, waiting, counts, away };
  }

  const set = async (key: string, ttl: number): Promise<number> => {
    await server.redis.set(key, '1', 'PX', ttl);
    return server.redis.pexpiretime(key);
  };

  /** A key that ran out after all others, with the same grace: nothing that is due before it is still to come. */
  async function last(events: Collector<Handled>): Promise<Handled> {
    await set('device:last', 50);
    await eventually(() =>
      expect(events.all.map(({ key }) => key)).toContain('device:last'),
    );
    return events.all.find(({ key }) => key === 'device:last')!;
  }

  it('is waited for, and the event tells of the expiry', async () => {
    const { events, waiting, counts, away } = await start({ grace: 2_500 });
    const deadline = await away('device:1', 300);
    const event = await events.one();

    expect(event.deadline?.getTime()).toBe(deadline);
    expect(event.at).toBeGreaterThanOrEqual(deadline + 2_500);
    expect(event.lateness).toBeLessThan(event.at - deadline);
    expect(event.attempt).toBe(1);
    await waiting(0);
    await counts({ received: 1, handled: 1, cameBack: 0, retried: 0 });
  });

  it('is over for nothing where the key comes back', async () => {
    const { events, counts, away } = await start({ grace: 2_500 });
    await away('device:1');
    await server.redis.set('device:1', 'again');
    await last(events);

    expect(events.all.map(({ key }) => key)).toEqual(['device:last']);
    await counts({ received: 2, handled: 1, cameBack: 1, superseded: 0 });
  });

  it.each([
    ['within the grace', 400, 3_000],
    ['after it, while the second grace goes on', 2_500, 2_000],
  ])(
    'makes one event, of the second deadline, of a key that comes back and runs out again %s',
    async (_, ttl, grace) => {
      const { events, counts, away } = await start({ grace });
      await away('device:1');
      const deadline = await set('device:1', ttl);
      const event = await events.one();
      await last(events);

      expect(event.deadline?.getTime()).toBe(deadline);
      expect(event.at).toBeGreaterThanOrEqual(deadline + grace);
      expect(events.all.map(({ key }) => key)).toEqual([
        ...['device:1', 'device:last'],
      ]);
      await counts({ received: 3, handled: 2, cameBack: 1, superseded: 0 });
    },
  );

  it('makes no event of a key that comes back and is deleted', async () => {
    const { events, counts, away } = await start({ grace: 2_500 });
    await away('device:1');
    await server.redis
      .pipeline()
      .set('device:1', 'again')
      .del('device:1')
      .exec();
    await last(events);

    expect(events.all.map(({ key }) => key)).toEqual(['device:last']);
    await counts({ handled: 1, cameBack: 1 });
  });

  it('tells each absence that was long enough, and no other', async () => {
    const { events, waiting, subscriber } = await start({ grace: 2_500 });
    const deadlines: number[] = [];
    for (let i = 0; i < 3; i++) {
      deadlines.push(await set('device:1', 400));
      await events.one();
      await set('device:1', 400);
      await waiting(1);
    }
    await last(events);
    await events.next(2);

    const told = events.all
      .filter(({ key }) => key === 'device:1')
      .map((event) => event.deadline!.getTime());
    // What came back at once counts with the absence after it; the last one is waited out.
    expect(told).toHaveLength(4);
    expect(told[0]).toBe(deadlines[0]);
    expect(told.slice(1, 3)).toEqual(deadlines.slice(1));
    expect(subscriber.status().counters.cameBack).toBe(2);
  });

  it('is each handler’s own', async () => {
    const events: Collector<Handled & { name: string }> = collect();
    const named = (name: string, grace?: number) =>
      handler(
        'device:*',
        (event) => events.add({ ...event, at: Date.now(), name }),
        grace === undefined ? {} : { grace },
        name,
      );
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, ...options }),
      ],
      providers: [named('Plain'), named('Short', 200), named('Long', 900)],
    });
    const deadline = await set('device:1', 100);
    const short = await events.next(2);
    await server.redis.set('device:1', 'again');
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        ...{ received: 3, handled: 2, cameBack: 1 },
      }),
    );

    expect(short.map(({ name }) => name)).toEqual(['Plain', 'Short']);
    expect(short[0]!.at).toBeLessThan(short[1]!.at);
    expect(short[1]!.at).toBeGreaterThanOrEqual(deadline + 200);
    expect(events.all).toHaveLength(2);
    // In a group both have the same id, and in broadcast none.
    expect(short[0]!.id).toBe(short[1]!.id);
  });

  it('goes with a handler that is subscribed by hand', async () => {
    const { subscriber, events } = await start({ grace: 100 });
    const keys: string[] = [];
    await subscriber.subscribe('by-hand:*', ({ key }) => void keys.push(key), {
      grace: 100,
    });
    const other = await subscriber.subscribe('device:*', () => undefined, {
      grace: 60_000,
    });
    await set('by-hand:1', 50);
    await eventually(() => expect(keys).toEqual(['by-hand:1']));
    await last(events);
    expect(subscriber.status().inGrace).toBe(isGroup ? 0 : 1);
    await other.unsubscribe();
    expect(subscriber.status().inGrace).toBe(0);
  });
});

describe('grace in broadcast', () => {
  const server = useServer();

  it('ends with the process, which says what it drops', async () => {
    const events = collect<KeyExpiredEvent>();
    const { app, subscriber, logs, close } = await createApp({
      imports: [RedisExpiryModule.forRoot({ connection: server.url })],
      providers: [handler('*', events.add, { grace: 3_600_000 })],
    });
    await server.expire('a', 'b', 'c');
    await eventually(() => expect(subscriber.status().inGrace).toBe(3));
    const began = Date.now();
    await close();

    expect(app).toBeDefined();
    expect(Date.now() - began).toBeLessThan(60_000);
    expect(subscriber.status()).toMatchObject({
      inGrace: 0,
      counters: { received: 3, dropped: 3, handled: 0 },
    });
    expect(logs.texts('warn', 'Shutdown dropped 3 event(s)')).toHaveLength(1);
  });

  it('has no more expiries wait than queueLimit', async () => {
    const { subscriber, logs } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, queueLimit: 2 }),
      ],
      providers: [handler('*', () => undefined, { grace: 60_000 })],
    });
    await server.expire('a', 'b', 'c', 'd');
    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        inGrace: 2,
        counters: { received: 2, dropped: 2 },
      }),
    );
    expect(logs.texts('error', 'queueLimit')).toHaveLength(1);
  });

  it('begins with the detection where the deadline is not known', async () => {
    const events = collect<KeyExpiredEvent & { at: number }>();
    await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, punctual: false }),
      ],
      providers: [
        handler('*', (event) => events.add({ ...event, at: Date.now() }), {
          grace: 300,
        }),
      ],
    });
    await server.redis.set('k', '1', 'PX', 100);
    const deadline = await server.redis.pexpiretime('k');
    const event = await events.one();

    expect(event.deadline).toBeUndefined();
    expect(event.at).toBeGreaterThanOrEqual(deadline + 300);
  });
});
