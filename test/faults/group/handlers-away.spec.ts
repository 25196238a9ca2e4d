import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import type { TestApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { type TestServer, useServer } from '../../support/servers.js';

const nothing = () => undefined;

/** Scripts that ran since the last reset. */
const scripts = async (server: TestServer): Promise<number> =>
  (await server.commandCalls())['evalsha'] ?? 0;
const passes = ({ subscriber }: TestApp): number =>
  subscriber.status().counters.passedOn;

describe(
  'an event for which only another instance has a handler',
  { timeout: 60_000 },
  () => {
    const server = useServer();

    it('waits for an instance that is restarted, at the cost of some commands', async () => {
      const app = await groupApp(server, [handler('a:*', nothing)]);
      const calls = collect<KeyExpiredEvent>();
      const other = await groupApp(server, [handler('b:*', calls.add)]);
      const pipeline = server.redis.pipeline();
      // By then a group knows that a handler that is not there will not come by itself.
      for (const key of names('b:', 300)) pipeline.set(key, '1', 'PX', 3_100);
      await pipeline.exec();
      await eventually(async () =>
        expect((await groupState(server))['index']).toBe(300),
      );
      await other.close();
      await eventually(() => expect(passes(app)).toBeGreaterThanOrEqual(300));
      await server.redis.config('RESETSTAT');
      const began = performance.now();
      await eventually(() => expect(passes(app)).toBeGreaterThanOrEqual(600));
      // Each is passed on twice, after a second on average, by two scripts or three.
      const seconds = (performance.now() - began) / 1_000;
      expect(await scripts(server)).toBeLessThan(1_200 + 50 * seconds);
      const twice = passes(app);
      await server.redis.config('RESETSTAT');
      await delay(1_000);
      // Then after two seconds, four, and five.
      expect(passes(app) - twice).toBeLessThan(300);
      expect(await scripts(server)).toBeLessThan(900);
      await groupApp(server, [handler('b:*', calls.add)]);
      await calls.next(300, 20_000);
      await groupIsDone(server);

      expect(new Set(calls.all.map(({ key }) => key)).size).toBe(300);
      expect(calls.all.every(({ attempt }) => attempt === 1)).toBe(true);
      expect(await groupState(server)).not.toHaveProperty('dead');
    });

    it('waits longer and longer while that one has no room, and is handled then', async () => {
      const held = deferred();
      const calls = collect<KeyExpiredEvent>();
      const first = await groupApp(server, [handler('a:*', nothing)]);
      const work = async (event: KeyExpiredEvent) => {
        calls.add(event);
        await held.promise;
      };
      await groupApp(server, [handler('b:*', work)], { concurrency: 1 });
      await server.expire(...names('b:', 21));
      await calls.next(1);
      // As often as it takes until each waits for 400 ms.
      await eventually(() => expect(passes(first)).toBeGreaterThan(12 * 20));
      await server.redis.config('RESETSTAT');
      const before = passes(first);
      await delay(1_000);
      expect(passes(first) - before).toBeLessThanOrEqual(5 * 20);
      expect(await scripts(server)).toBeLessThan(350);
      held.resolve();
      await calls.next(20, 20_000);
      await groupIsDone(server);

      expect(calls.all.every(({ attempt }) => attempt === 1)).toBe(true);
      expect(new Set(calls.all.map(({ key }) => key)).size).toBe(21);
      expect(await groupState(server)).not.toHaveProperty('dead');
    });
  },
);
