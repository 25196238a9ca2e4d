import { expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { groupApp, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { onEveryServer } from '../../support/servers.js';

/** Enough for a script that looks at many of them to take several ms. */
const COUNT = 3_000;

onEveryServer('the deadline of a key', (server) => {
  const tell = ({ key, deadline }: KeyExpiredEvent): [string, number] => [
    key,
    deadline!.getTime(),
  ];

  it.for(['group', 'broadcast'])(
    'is told to the millisecond, though it was read in a batch (%s)',
    async (mode) => {
      const keys = names('k', COUNT);
      const first = Date.now() + paced(2_500);
      const deadlines = new Map(keys.map((key, i) => [key, first + (i % 500)]));
      const pipeline = server.redis.pipeline();
      for (const [key, deadline] of deadlines)
        pipeline.set(key, '', 'PXAT', deadline);
      await pipeline.exec();
      const events = collect<KeyExpiredEvent>();
      const module = mode === 'group' ? {} : { group: undefined };
      const { subscriber } = await groupApp(
        server,
        [handler('k*', events.add)],
        { ...module, punctual: { scanCount: COUNT } },
      );
      await subscriber.ready();
      expect(Date.now()).toBeLessThan(first);

      const told = await events.next(COUNT);
      expect(new Map(told.map(tell))).toEqual(deadlines);
    },
  );
});
