import { expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../lib/index.js';
import { collect } from '../support/collect.js';
import { groupApp, handler } from '../support/group/app.js';
import { onEveryServer } from '../support/servers.js';

onEveryServer('a deadline that is set in the past', (server) => {
  /** Redis deletes the key, and says so; Valkey from 9 on lets it expire. */
  async function expires(): Promise<boolean> {
    const info = await server.redis.info('server');
    const version = /^valkey_version:(\d+)/m.exec(info)?.[1];
    return Number(version ?? 0) >= 9;
  }

  it.each([
    ['broadcast', { group: false as const }],
    ['a group', {}],
  ])(
    'is a deletion in Redis and an expiry in Valkey: %s',
    async (_, options) => {
      const events = collect<KeyExpiredEvent>();
      const { subscriber } = await groupApp(server, [
        handler('k*', events.add, options),
      ]);
      await subscriber.ready();
      const { redis } = server;
      for (const key of ['k1', 'k2', 'k3'])
        await redis.set(key, '1', 'PX', 100_000);
      await redis.expire('k1', -1);
      await redis.pexpireat('k2', 1);
      await redis.expire('k3', 0);

      await server.expire('k-last');

      const expired = (await expires()) ? ['k1', 'k2', 'k3'] : [];
      const all = await events.next(expired.length + 1);
      expect(all.map(({ key }) => key).toSorted()).toEqual(
        ['k-last', ...expired].toSorted(),
      );
      expect(await redis.exists('k1', 'k2', 'k3')).toBe(0);
      expect(events.rest).toEqual([]);
    },
  );
});
