import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, inject, it } from 'vitest';
import {
  bedOf,
  clientsOf,
  eventually,
  killClient,
} from '../support/faults/bed.js';
import { names } from '../support/group/history.js';

describe.each(inject('redisServers'))(
  'the listener of a server of $name that tracks keys',
  ({ path }) => {
    it('tracks them again however often it is killed, also while that begins, and leaves no connection behind', async (context) => {
      const bed = bedOf(context);
      const server = await bed.server({
        path,
        // Whatever is announced, a look caused it.
        args: ['--enable-debug-command', 'local'],
      });
      const admin = bed.admin(server);
      await admin.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
      await admin.config('SET', 'notify-keyspace-events', 'Kx');
      await admin.acl(
        'SETUSER',
        'app',
        ...['on', '>pw', '~*', '&*', '+@all', '-config'],
      );
      const app = await bed.app({
        connection: {
          ...{ host: '127.0.0.1', port: server.port },
          ...{ username: 'app', password: 'pw', retryStrategy: () => 1 },
        },
        punctual: true,
      });
      await app.subscriber.ready();
      expect(app.node.learning).toBe('tracking');
      const connections = async (): Promise<number> =>
        (await clientsOf(admin, app.name)).length;
      const before = await connections();

      let killed = '';
      let killedAt = 0;
      for (let round = 0; round < 60; round++) {
        // The tracker's connection is made within the next few ms.
        await eventually(async () => {
          const listener = (await clientsOf(admin, app.name)).find(
            ({ id, subscribed }) => subscribed && id !== killed,
          );
          expect(listener).toBeDefined();
          killed = listener!.id;
        });
        await delay((round % 20) / 4);
        killedAt = Date.now();
        await killClient(admin, killed);
      }

      await eventually(() =>
        expect(app.node.lastGap?.to?.getTime()).toBeGreaterThanOrEqual(
          killedAt,
        ),
      );
      await eventually(async () => expect(await connections()).toBe(before));
      expect(app.node.learning).toBe('tracking');
      for (const key of names('device:', 20))
        await admin.set(key, '1', 'PX', 200);
      await eventually(() => expect(app.calls.size).toBe(20));
    });
  },
);
