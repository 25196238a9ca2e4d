import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { handler } from '../support/group/app.js';
import { names } from '../support/group/history.js';
import { paced } from '../support/paced.js';
import { type TestServer, onEveryServer } from '../support/servers.js';

/** An application whose user may not CONFIG, nor what else the rules take. */
async function listen(
  server: TestServer,
  flags: string,
  { rules = [], ...options }: RedisExpiryModuleOptions & { rules?: string[] },
) {
  await server.setFlags(flags);
  const { redis, host, port } = server;
  const all = ['~*', '&*', '+@all', '-config', ...rules];
  await redis.acl('SETUSER', 'app', 'on', '>pw', ...all);
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: `redis://app:pw@${host}:${port}`,
        ...options,
      }),
    ],
    providers: [handler('device:*', events.add)],
  });
  await app.subscriber.ready();
  const learning = () => {
    const { nodes, groups } = app.subscriber.status();
    return [...nodes, ...groups.flatMap((group) => group.nodes)].map(
      (node) => node.learning,
    );
  };
  return { ...app, events, learning };
}

const keysOf = (events: readonly KeyExpiredEvent[]): string[] =>
  events.map(({ key }) => key).toSorted();

const NO_TRACKING = ['-client|tracking'];

onEveryServer(
  'a server without CONFIG',
  (server) => {
    describe.each([
      ['broadcast', {}],
      ['a group', { group: 'presence' }],
    ])('%s', (_, options) => {
      it.each([
        ['Exn', 'new'],
        ['KEA', 'expire'],
        ['Exg', 'expire'],
        ['Kx', 'tracking'],
      ])(
        'with the flags "%s" learns of new keys by "%s", and looks at them when due',
        async (flags, by) => {
          // Whatever is announced, a look caused it.
          await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
          const { events, learning, logs } = await listen(
            server,
            flags,
            options,
          );
          expect(learning()).toEqual([by]);

          for (const key of names('device:', 20))
            await server.redis.set(key, '1', 'PX', 200);
          await server.redis.hset('device:hash', 'field', '1');
          await server.redis.pexpire('device:hash', 200);

          const received = await events.next(21);
          expect(keysOf(received)).toEqual(
            [...names('device:', 20), 'device:hash'].toSorted(),
          );
          for (const event of received)
            expect(event).toMatchObject({ source: 'notification' });
          expect(logs.texts('warn')).toEqual([]);
        },
      );

      it('learns by scans alone where nothing else is granted, and says so', async () => {
        await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
        await server.redis.set('device:1', '1', 'PX', paced(3_000));
        const { events, learning, logs } = await listen(server, 'Ex', {
          ...options,
          rules: NO_TRACKING,
          punctual: { scanInterval: 1_000 },
        });
        expect(learning()).toEqual(['scan']);
        await server.redis.set('device:2', '1', 'PX', paced(3_000));

        expect(keysOf(await events.next(2))).toEqual(['device:1', 'device:2']);
        expect(logs.texts('warn')).toEqual([
          expect.stringMatching(/scans alone.*"x?n?Exn|n"/),
        ]);
      });
    });

    it('tells broadcast nothing where nothing is announced', async () => {
      const { subscriber } = await listen(server, '', {});
      expect(subscriber.status().nodes).toMatchObject([{ state: 'deaf' }]);
    });
  },
  { args: ['--enable-debug-command', 'local'] },
);

onEveryServer('a group with notifications off altogether', (server) => {
  const options = { group: 'presence' };
  const scanning = { rules: NO_TRACKING, punctual: { scanInterval: 1_000 } };

  describe.each([
    ['by client tracking', 'tracking', {}],
    ['by scans alone', 'scan', scanning],
  ])('%s', (_, by, more) => {
    it('hands over what expired, on time, and not what was deleted or renewed', async () => {
      // Redis's own cycle comes first where it can: then no look proves anything.
      await server.redis.config('SET', 'hz', '500');
      const all = names('device:', 600);
      const set = (keys: string[], ttl: number) =>
        Promise.all(keys.map((key) => server.redis.set(key, '1', 'PX', ttl)));
      await set(all.slice(0, 300), paced(4_000));
      const app = await listen(server, '', { ...options, ...more });
      expect(app.learning()).toEqual([by]);
      await set(all.slice(300), paced(4_000));
      const index = 'rx:{presence}:index';
      await eventually(async () =>
        expect(await server.redis.zcard(index)).toBe(600),
      );
      const part = (n: number) => all.filter((__, i) => i % 3 === n);
      await server.redis.del(...part(0));
      await set(part(1), paced(4_500));

      const told = new Map<string, KeyExpiredEvent>();
      const untilTold = async (keys: readonly string[]): Promise<void> => {
        while (!keys.every((key) => told.has(key))) {
          const event = await app.events.one();
          expect(told.get(event.key)).toBeUndefined();
          told.set(event.key, event);
        }
      };
      const expired = [...part(1), ...part(2)];
      await untilTold(expired);
      await server.redis.set('device:last', '1', 'PX', paced(1_500));
      await untilTold(['device:last']);

      // Where this process was held up for longer than it looks ahead, what is gone counts as expired, and as recovered.
      const isTimely = ({ source }: KeyExpiredEvent) => source !== 'recovery';
      const deleted = part(0).flatMap((key) => told.get(key) ?? []);
      expect(keysOf(deleted.filter(isTimely))).toEqual([]);
      for (const key of expired) {
        const { lateness, attempt } = told.get(key)!;
        expect(attempt).toBe(1);
        expect(lateness).toBeLessThan(paced(500));
      }
      await eventually(async () =>
        expect(await server.redis.zcard(index)).toBe(0),
      );
    });

    it('finds what expired while no instance ran, and not what was deleted', async () => {
      const all = names('device:', 200);
      const deadline = Date.now() + paced(4_000);
      for (const key of all) await server.redis.set(key, '1', 'PXAT', deadline);
      const before = await listen(server, '', { ...options, ...more });
      await before.close();
      await server.redis.del(...all.slice(100));
      // Else they had run out, and were not deleted.
      expect(Date.now()).toBeLessThan(deadline);
      const after = await listen(server, '', { ...options, ...more });

      const received = await after.events.next(100);

      expect(keysOf(received)).toEqual(all.slice(0, 100).toSorted());
      await eventually(async () =>
        expect(await server.redis.zcard('rx:{presence}:index')).toBe(0),
      );
    });

    it('goes on when notifications come back', async () => {
      const app = await listen(server, '', { ...options, ...more });
      await server.redis.set('device:1', '1', 'PX', paced(1_500));
      expect((await app.events.one()).key).toBe('device:1');
      await server.setFlags('KExng');
      await eventually(() =>
        expect(app.subscriber.status().groups[0]!.nodes).toMatchObject([
          { state: 'listening' },
        ]),
      );
      await server.redis.set('device:2', '1', 'PX', 100);
      expect((await app.events.one()).key).toBe('device:2');
    });
  });
});
