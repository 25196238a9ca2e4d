import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import { bedOf } from '../../support/faults/bed.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const keysOf = (events: readonly KeyExpiredEvent[]): string[] =>
  events.map(({ key }) => key).toSorted();

describe('a group whose server is flushed while events are in flight', () => {
  const server = useServer();

  it.for([
    ['end well', false],
    ['fail', true],
  ] as const)(
    'goes on with new keys, and makes no event of what was flushed, where the handlers that run %s',
    { timeout: 180_000 },
    async ([, fails], context) => {
      // Fails the test for a rejection that nobody handles.
      bedOf(context);
      const began = collect<KeyExpiredEvent>();
      const released = deferred();
      let flushed = false;
      const work = async (event: KeyExpiredEvent): Promise<void> => {
        began.add(event);
        if (flushed) return;
        await released.promise;
        if (fails) throw new Error('on purpose');
      };
      const options = {
        ...{ concurrency: 10, leaseDuration: 3_000 },
        retry: { attempts: 3, backoff: 50 },
      };
      const apps = [];
      for (let i = 0; i < 2; i++)
        apps.push(await groupApp(server, [handler('k*', work)], options));
      // 20 run, 30 wait in the stream, and 700 wait for their deadline.
      await server.expire(...names('k-running-', 50));
      await began.next(20);
      const soon = Date.now() + 4_000;
      const pipeline = server.redis.pipeline();
      for (const key of names('k-indexed-', 700))
        pipeline.set(key, '1', 'PXAT', soon);
      await pipeline.exec();
      await server.redis.zadd('rx:{presence}:retry', soon, 'not due');
      await eventually(async () => {
        expect(await groupState(server)).toMatchObject({
          ...{ index: 700, events: 50, retry: 1 },
        });
      });
      expect(Date.now()).toBeLessThan(soon);

      await server.redis.flushall();
      flushed = true;
      released.resolve();
      // Who watches is found out anew; whoever it is goes on.
      await eventually(async () => {
        await server.expire('k-again');
        expect(keysOf(began.rest)).toContain('k-again');
      });
      await eventually(() => expect(Date.now()).toBeGreaterThan(soon));
      const later = names('k-later-', 100);
      for (const key of later) await server.redis.set(key, '1', 'PX', 500);
      await server.expire('k-now');
      await eventually(() =>
        expect(keysOf(began.rest)).toEqual(
          expect.arrayContaining(['k-now', ...later]),
        ),
      );
      await groupIsDone(server);

      const after = keysOf(began.rest).filter((key) => key !== 'k-again');
      expect(after).toEqual(['k-now', ...later].toSorted());
      const state = await groupState(server);
      for (const part of ['index', 'retry', 'dead'])
        expect(state).not.toHaveProperty(part);
      for (const { subscriber } of apps) {
        const { counters, queued, running } = subscriber.status();
        expect({ queued, running }).toEqual({ queued: 0, running: 0 });
        expect(counters.deadLettered).toBe(0);
      }
    },
  );

  it('again and again, goes on too', { timeout: 180_000 }, async (context) => {
    bedOf(context);
    const events = collect<KeyExpiredEvent>();
    await groupApp(server, [handler('k*', events.add)]);
    for (let i = 0; i < 100; i++) {
      await server.redis.set(`k${i}`, '1', 'PX', 20);
      await new Promise((resolve) => setTimeout(resolve, 10));
      await server.redis.flushall();
    }

    await eventually(async () => {
      await server.expire('k-again');
      expect(keysOf(events.all)).toContain('k-again');
    });
    await groupIsDone(server);
  });
});
