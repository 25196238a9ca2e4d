import type { Redis, RedisOptions } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ownClientOptions } from '../../../lib/connection/client-options.js';
import { CommandClient } from '../../../lib/connection/command-client.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { noLog } from '../../support/group/parts.js';
import { type TestServer, useServer } from '../../support/servers.js';

/** A client on a server, and every connection that it opened. */
function clientOn(server: TestServer, options: RedisOptions = {}) {
  const opened: Redis[] = [];
  const attempts = collect<number>();
  const commands = new CommandClient({
    open: () => {
      const own = ownClientOptions('commands');
      const redis = server.client({ ...own, ...options });
      opened.push(redis);
      return redis;
    },
    connectTimeout: 5_000,
    retryDelay: (attempt) => {
      attempts.add(attempt);
      return 20;
    },
    log: noLog,
  });
  onTestFinished(() => commands.close());
  return { commands, opened, attempts };
}

/** As a failover does: the connections stay open. */
async function demote(server: TestServer, primary: TestServer): Promise<void> {
  await server.redis.replicaof(primary.host, primary.port);
  onTestFinished(async () => {
    await server.redis.replicaof('NO', 'ONE');
  });
}

describe('CommandClient, of a primary that became a replica', () => {
  const server = useServer();
  const other = useServer();

  it('rejects what is answered READONLY, and goes on at the new primary by a new connection', async () => {
    const proxy = await TcpProxy.start(server.port);
    onTestFinished(() => proxy.close());
    const { commands, opened } = clientOn(server, { port: proxy.port });
    await commands.run((redis) => redis.set('k', 'old'));
    proxy.leadTo(other.port);
    await demote(server, other);
    // Reading is answered: nothing tells that it is a replica.
    await commands.run((redis) => redis.ping());
    expect(opened).toHaveLength(1);

    await expect(
      commands.run((redis) => redis.set('k', 'new')),
    ).rejects.toThrow(/^READONLY/);
    await commands.run((redis) => redis.set('k', 'new'));

    expect(await other.redis.get('k')).toBe('new');
    expect(opened).toHaveLength(2);
    expect(await server.connections()).toEqual([]);
  });

  it('rejects what else was under way there, which the new primary must not be sent', async () => {
    const { commands, attempts } = clientOn(server);
    await commands.run((redis) => redis.ping());
    await demote(server, other);
    const writing = commands.run((redis) => redis.set('k', '1'));
    // Would wait for ever, at a server that nobody writes to any more.
    const waiting = commands.run((redis) =>
      redis.xread('BLOCK', 0, 'STREAMS', 'events', '$'),
    );

    await expect(writing).rejects.toThrow(/^READONLY/);
    await expect(waiting).rejects.toThrow(/^READONLY/);
    expect(attempts.all).toEqual([1]);
  });

  it('tries again for as long as it is answered READONLY', async () => {
    const { commands, opened } = clientOn(server);
    await demote(server, other);
    for (let i = 0; i < 3; i++)
      await expect(
        commands.run((redis) => redis.set('k', '1')),
      ).rejects.toThrow(/^READONLY/);
    await server.redis.replicaof('NO', 'ONE');

    await eventually(() => commands.run((redis) => redis.set('k', '2')));
    expect(opened.length).toBeGreaterThanOrEqual(4);
    await eventually(async () => {
      expect(await server.connections()).toHaveLength(1);
    });
  });

  it('stays with its connection whatever else a server answers', async () => {
    const { commands, opened } = clientOn(server);
    await server.redis.set('k', 'text');
    await expect(commands.run((redis) => redis.lpop('k'))).rejects.toThrow(
      /^WRONGTYPE/,
    );
    await expect(
      commands.run((redis) =>
        redis.eval('return redis.error_reply("X READONLY")', 0),
      ),
    ).rejects.toThrow('READONLY');
    await commands.run((redis) => redis.ping());

    expect(opened).toHaveLength(1);
  });
});
