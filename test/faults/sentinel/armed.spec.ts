import { describe, expect, inject, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { writer } from '../../support/armed/writer.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { promotionOfOther } from '../../support/faults/sentinel-scene.js';
import { handler } from '../../support/group/app.js';
import { useSentinel } from '../../support/sentinel.js';

describe.each(inject('redisServers'))(
  'armed keys by Sentinels on $name',
  ({ path }) => {
    const sentinel = useSentinel({ path });

    it('are handed over by the server that takes over, and armed there', async () => {
      const { sentinels, name } = sentinel;
      const connection = { sentinels, name };
      const { keys } = await writer({ connection });
      const entries = Array.from({ length: 50 }, (_, i) => ({
        key: `before:${i}`,
        ttl: 1_000,
      }));
      await keys.armMany(entries);
      const old = await sentinel.primary();
      await sentinel.wait();
      const promoted = promotionOfOther(sentinel, old);
      await sentinel.kill(old);
      await promoted;

      // What was under way when the server was killed may have been done; nothing was.
      await eventually(() => keys.arm('after', { ttl: 1 }));

      const events = collect<KeyExpiredEvent>();
      await createApp({
        imports: [RedisExpiryModule.forRoot({ connection, group: 'presence' })],
        providers: [handler('*', events.add)],
      });
      const received = await events.next(51);
      expect(received.map(({ key }) => key).toSorted()).toEqual(
        ['after', ...entries.map(({ key }) => key)].toSorted(),
      );
      await sentinel.settled();
    });
  },
);
