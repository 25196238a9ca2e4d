import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { RedisExpiryModule } from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { collect } from '../support/collect.js';
import { handler } from '../support/group/app.js';
import { names } from '../support/group/history.js';
import { type TestServer, onEveryServer } from '../support/servers.js';

/** An application whose pattern is wider than what its user may look at: `device:own:*`. */
async function wide(server: TestServer, options: object) {
  const rules = ['~device:own:*', '~rx:*', '&*', '+@all'];
  await server.redis.acl('SETUSER', 'app', 'on', '>pw', ...rules);
  const events = collect<string>();
  const app = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: `redis://app:pw@${server.host}:${server.port}`,
        shutdownTimeout: 3_000,
        ...options,
      }),
    ],
    providers: [handler('device:*', ({ key }) => events.add(key))],
  });
  await app.subscriber.ready();
  return { ...app, events };
}

onEveryServer(
  'a pattern wider than the ACL',
  (server) => {
    /** Own keys, and one of another's in ten, in one go. */
    const give = (own: readonly string[], ms: number) =>
      Promise.all(
        own.flatMap((key, i) => [
          server.redis.set(key, '1', 'PX', ms),
          ...(i % 10 === 0
            ? [server.redis.set(`device:other:${key}`, '1', 'PX', ms)]
            : []),
        ]),
      );

    it.each([
      ['broadcast', {}],
      ['a group', { group: 'presence' }],
    ])(
      '%s handles every key that it may look at, and warns once',
      async (_, options) => {
        const old = names('device:own:old:', 45);
        await give(old, 1_500);
        const { events, logs } = await wide(server, options);
        const fresh = names('device:own:new:', 45);
        await give(fresh, 300);
        const own = new Set([...old, ...fresh]);
        const handled = new Set<string>();
        while (handled.size < own.size) {
          const key = await events.one();
          if (own.has(key)) handled.add(key);
        }

        expect(events.all.filter((key) => own.has(key))).toHaveLength(own.size);
        expect(logs.texts('warn', '"device:*" matches keys')).toHaveLength(1);
        expect(logs.texts('warn', '%R~device:*')).toHaveLength(1);
        // Nothing is asked again and again for the keys that are forbidden.
        await server.redis.config('RESETSTAT');
        await delay(1_000);
        const { evalsha = 0, pttl = 0 } = await server.commandCalls();
        expect(evalsha + pttl).toBeLessThan(20);
      },
    );

    it('broadcast hands over no key that is alive for the sake of one that it may not ask for', async () => {
      const { events } = await wide(server, { punctual: false });
      const own = names('device:own:', 20);
      // They lapse and are written again before anybody can look: alive is alive.
      await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
      const renew = server.redis.multi();
      renew.set('device:other:1', '1', 'PX', 1);
      for (const key of own) renew.set(key, '1', 'PX', 1);
      await renew.exec();
      await delay(5);
      const again = server.redis.multi();
      again.exists('device:other:1');
      for (const key of own) again.set(key, '2');
      await again.exec();
      await events.one();
      await server.expire('device:own:last');
      let last = await events.one();
      while (last !== 'device:own:last') last = await events.one();

      expect(events.all.toSorted()).toEqual([
        'device:other:1',
        'device:own:last',
      ]);
    });
  },
  { args: ['--enable-debug-command', 'local'] },
);
