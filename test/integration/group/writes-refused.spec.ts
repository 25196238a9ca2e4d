import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { refusals } from '../../support/group/write-refusals.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

describe('a group whose server refuses writes', () => {
  const server = useServer();

  it.for(refusals)(
    'says so once ($code), and handles everything once writes are taken again',
    async ({ code, begin, end }) => {
      const events = collect<KeyExpiredEvent>();
      const { subscriber, logs } = await groupApp(server, [
        handler('k*', events.add),
      ]);
      await subscriber.ready();
      const keys = names('k', 50);
      const deadline = Date.now() + paced(1_500);
      const pipeline = server.redis.pipeline();
      for (const key of keys) pipeline.set(key, '', 'PXAT', deadline);
      await pipeline.exec();
      await eventually(async () =>
        expect(await server.redis.zcard('rx:{presence}:index')).toBe(50),
      );
      const lastError = (): string | undefined =>
        subscriber.status().groups[0]!.lastError;
      const said = (part: string): string[] => logs.texts('warn', part);
      expect(lastError()).toBeUndefined();

      await begin(server);
      await eventually(() => expect(lastError()).toMatch(code));
      expect(said('refuses the writes of group "presence"')).toEqual([
        expect.stringContaining(code) as string,
      ]);

      await end(server);
      const handled = await events.next(50);
      expect(handled.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
      for (const event of handled)
        expect(event).toMatchObject({
          attempt: 1,
          id: `${event.key}@${deadline}`,
        });
      await eventually(() => expect(lastError()).toBeUndefined());
      expect(said('takes the writes of group "presence" again')).toHaveLength(
        1,
      );
      expect(said('refuses the writes')).toHaveLength(1);
      await groupIsDone(server);
      expect(events.rest).toEqual([]);
    },
  );
});
