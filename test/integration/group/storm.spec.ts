import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupState, handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

const COUNT = 100_000;

describe('100,000 keys that run out in one second', () => {
  const server = useServer();

  it(
    'are all handled, each once, from a backlog that is at Redis and not in memory',
    { timeout: 180_000 },
    async () => {
      const seen = new Uint8Array(COUNT);
      let handled = 0;
      const { subscriber } = await groupApp(server, [
        handler('k:*', ({ captures }: KeyExpiredEvent) => {
          seen[Number(captures[0])]!++;
          handled++;
        }),
      ]);
      const soon = Date.now() + paced(12_000);
      for (let i = 0; i < COUNT; i += 5_000) {
        const pipeline = server.redis.pipeline();
        for (let j = i; j < i + 5_000; j++)
          pipeline.set(`k:${j}`, '', 'PXAT', soon + (j % 1_000));
        await pipeline.exec();
      }
      await eventually(async () => {
        expect((await groupState(server))['index']).toBe(COUNT);
      });
      expect(handled).toBe(0);
      const before = process.memoryUsage().rss;
      let most = 0;
      let backlog = 0;
      await eventually(
        () => {
          most = Math.max(most, process.memoryUsage().rss);
          const [status] = subscriber.status().groups;
          backlog = Math.max(backlog, status!.waiting! + status!.pending!);
          expect(handled).toBeGreaterThanOrEqual(COUNT);
        },
        { timeout: 180_000 },
      );
      console.log(
        `${COUNT} in ${Date.now() - soon} ms after the first deadline; ` +
          `memory +${Math.round((most - before) / 2 ** 20)} MB, backlog up to ${backlog}`,
      );

      expect(seen.every((times) => times === 1)).toBe(true);
      expect(backlog).toBeGreaterThan(100);
      expect(most - before).toBeLessThan(300 * 2 ** 20);
      await eventually(async () => {
        expect(await groupState(server)).toEqual({
          events: 0,
          lease: 'string',
          watched: 'string',
          request: 'string',
          instances: 1,
          handlers: 1,
          listened: 'string',
        });
      });
    },
  );
});
