import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

const fail = (): never => {
  throw new Error('on purpose');
};

describe('the commands that retries cost', () => {
  const server = useServer();

  it.for([
    { title: 'a backoff of 200 ms', instances: 1, backoff: 200 },
    { title: 'a backoff of 500 ms', instances: 1, backoff: 500 },
    { title: 'three instances', instances: 3, backoff: 200 },
  ])(
    'do not grow while handlers keep failing: $title',
    { timeout: 180_000 },
    async ({ instances, backoff }) => {
      const runs = collect<KeyExpiredEvent>();
      const failing = handler('k*', (event) => {
        runs.add(event);
        fail();
      });
      for (let i = 0; i < instances; i++)
        await groupApp(server, [failing], { retry: { attempts: 3, backoff } });
      // 25 expiries a second for four seconds, each of which fails three times.
      const keys = names('k', 100);
      const begin = Date.now() + 300;
      const pipeline = server.redis.pipeline();
      keys.forEach((key, i) => pipeline.set(key, '', 'PXAT', begin + i * 40));
      await pipeline.exec();

      /** Scripts for each run of a handler, over so many runs. */
      const cost = async (count: number): Promise<number> => {
        const before = (await server.commandCalls())['evalsha']!;
        await runs.next(count);
        return ((await server.commandCalls())['evalsha']! - before) / count;
      };
      await runs.next(50);
      const early = await cost(75);
      await runs.next(50);
      const late = await cost(75);
      await runs.next(50);
      await groupIsDone(server);

      console.log(
        `scripts for each run: ${early.toFixed(1)} early, ${late.toFixed(1)} late`,
      );
      expect(late).toBeLessThan(2 * early);
      // To end it, to promote its retry, and what the group needs anyway.
      expect(late).toBeLessThan(10);
      expect(runs.all).toHaveLength(300);
      expect((await groupState(server))['dead']).toBe(100);
    },
  );
});

describe('retries', () => {
  const server = useServer();

  it('come when they are due, not when the group’s housekeeping is', async () => {
    const runs = collect<KeyExpiredEvent>();
    const failing = handler('k', (event) => {
      runs.add(event);
      fail();
    });
    // One of them leads, and any of them may take the event.
    for (let i = 0; i < 3; i++)
      await groupApp(server, [failing], {
        retry: { attempts: 20, backoff: 10 },
      });
    await server.expire('k');
    const began = performance.now();
    // Nineteen turns of housekeeping take nineteen seconds, on the fastest machine.
    await runs.next(20);

    expect(performance.now() - began).toBeLessThan(18_000);
    expect(runs.all.map(({ attempt }) => attempt)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  it('that are due sooner do not make the others wait', async () => {
    const runs = collect<string>();
    const failOnce = (name: string, backoff: number) =>
      handler(
        'k',
        ({ attempt }) => {
          runs.add(`${name} ${attempt}`);
          if (attempt === 1) fail();
        },
        { retry: { backoff } },
        name,
      );
    await groupApp(server, [
      failOnce('Late', 900),
      failOnce('Soon', 100),
      failOnce('Later', 1_500),
      failOnce('Between', 500),
    ]);
    await server.expire('k');
    await runs.next(4);

    expect(await runs.next(4)).toEqual([
      'Soon 2',
      'Between 2',
      'Late 2',
      'Later 2',
    ]);
  });
});
