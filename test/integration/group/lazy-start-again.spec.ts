import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { groupApp, handler } from '../../support/group/app.js';
import { TestServer, useServer } from '../../support/servers.js';

describe('a group whose start does not wait for Redis (lazyConnect)', () => {
  const server = useServer();
  const lazy = { lazyConnect: true, connectTimeout: 1_000 };

  // Nothing but a new connection finds the primary.
  it('works once the address of the replica that it found leads to the primary', async () => {
    const replica = await new TestServer({
      args: ['--replicaof', `${server.host} ${server.port}`],
    }).start();
    onTestFinished(() => replica.stop());
    const proxy = await TcpProxy.start(replica.port);
    onTestFinished(() => proxy.close());
    const events = collect<KeyExpiredEvent>();
    const { logs, subscriber } = await groupApp(
      server,
      [handler('k*', events.add)],
      {
        connection: { host: '127.0.0.1', port: proxy.port, ...lazy },
      },
    );
    onTestFinished(async () => {
      await replica.redis.replicaof('NO', 'ONE');
    });
    await eventually(() =>
      expect(logs.texts('error', 'replica').length).toBeGreaterThanOrEqual(2),
    );
    proxy.leadTo(server.port);
    await eventually(() =>
      expect(subscriber.status().groups).toMatchObject([
        { leads: true, nodes: [{ state: 'listening' }] },
      ]),
    );
    await server.expire('k');

    expect((await events.one()).key).toBe('k');
  });

  it('renews its lease as often as before, however often the start was tried', async () => {
    await server.redis.acl(
      'SETUSER',
      'limited',
      ...['on', '>secret', '~*', 'resetchannels', '+@all'],
    );
    const { host, port } = server;
    const user = { username: 'limited', password: 'secret' };
    const { logs, subscriber } = await groupApp(
      server,
      [handler('k', () => undefined)],
      { connection: { host, port, ...user, ...lazy } },
    );
    await eventually(() =>
      expect(
        logs.texts('error', 'is tried again').length,
      ).toBeGreaterThanOrEqual(5),
    );
    await server.redis.acl('SETUSER', 'limited', '&*');
    await eventually(() =>
      expect(subscriber.status().groups[0]!.nodes).toMatchObject([
        { state: 'listening' },
      ]),
    );
    const renewals = async (): Promise<number> =>
      (await server.commandCalls())['pexpire'] ?? 0;
    // RENEW-LEASE is the only one that calls it; nothing else is under way.
    await server.redis.config('RESETSTAT');
    await new Promise((resolve) => setTimeout(resolve, 4_000));

    // Every 500 ms.
    expect(await renewals()).toBeLessThanOrEqual(9);
  });
});
