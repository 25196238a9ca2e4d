import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../support/group/app.js';
import { useServer } from '../support/servers.js';

/** Ends when the event's signal is aborted, and never before. */
const untilAborted = async ({ signal }: KeyExpiredEvent): Promise<void> => {
  if (!signal.aborted) await once(signal, 'abort');
};
const forEver = () => new Promise<void>(() => undefined);

describe('a handler that does not settle', () => {
  const server = useServer();

  it('makes way for the next event after its timeout, and has failed', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber, logs } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, concurrency: 1 }),
      ],
      providers: [
        handler(
          'k*',
          (event) => {
            events.add(event);
            return forEver();
          },
          { timeout: 50 },
        ),
      ],
    });
    await server.expire('k1', 'k2', 'k3');

    const all = await events.next(3);
    await eventually(() =>
      expect(subscriber.status()).toMatchObject({
        running: 0,
        counters: { failed: 3, handled: 0 },
      }),
    );
    expect(all.map(({ signal }) => signal.reason as unknown)).toEqual(
      all.map(() => expect.objectContaining({ code: 'HANDLER_TIMEOUT' })),
    );
    expect(logs.texts('error', 'within 50 ms (timeout)')).toHaveLength(3);
  });

  it('is tried again in a group, as one that throws', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(
      server,
      [
        handler(
          'k',
          (event) => {
            events.add(event);
            return event.attempt < 3 ? untilAborted(event) : undefined;
          },
          { timeout: 100, retry: { backoff: 10 } },
        ),
      ],
      { concurrency: 1 },
    );
    await server.expire('k');

    const all = await events.next(3);
    await groupIsDone(server);
    expect(all.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(all.map(({ signal }) => signal.aborted)).toEqual([
      ...[true, true, false],
    ]);
    expect(subscriber.status().counters).toMatchObject({
      ...{ handled: 1, failed: 2, retried: 2, deadLettered: 0 },
    });
  });

  it('becomes a dead letter that says why, after its last try', async () => {
    const { subscriber } = await groupApp(server, [
      handler('k', forEver, {
        timeout: 30,
        retry: { attempts: 2, backoff: 10 },
      }),
    ]);
    await server.expire('k');

    await eventually(async () =>
      expect(await subscriber.deadLetters()).toMatchObject([
        { key: 'k', error: expect.stringContaining('30 ms (timeout)') },
      ]),
    );
  });

  it('that heeds its signal leaves its event to another instance at once, when shutdown gives it up', async () => {
    const events = collect<KeyExpiredEvent>();
    const work = async (event: KeyExpiredEvent): Promise<void> => {
      events.add(event);
      if (event.attempt > 1) return;
      await untilAborted(event);
      event.signal.throwIfAborted();
    };
    const options = {
      // A test that waited for it would not end.
      leaseDuration: 3_600_000,
      shutdownTimeout: 100,
      retry: { backoff: 10 },
    };
    const first = await groupApp(server, [handler('k', work)], options);
    await server.expire('k');
    await events.one();
    const second = await groupApp(server, [handler('k', work)], options);

    await first.close();

    expect(await events.one()).toMatchObject({ attempt: 2 });
    await groupIsDone(server);
    expect(second.subscriber.status().counters).toMatchObject({ handled: 1 });
    expect(await second.subscriber.deadLetters()).toEqual([]);
  });

  it('is told by its signal when shutdown gives it up', async () => {
    const events = collect<KeyExpiredEvent>();
    const { app } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: server.url,
          shutdownTimeout: 100,
        }),
      ],
      providers: [
        handler('k', (event) => {
          events.add(event);
          return untilAborted(event);
        }),
      ],
    });
    await server.expire('k');
    const { signal } = await events.one();
    expect(signal.aborted).toBe(false);

    await app.close();

    expect(signal.reason).toMatchObject({ code: 'CLOSED' });
  });
});
