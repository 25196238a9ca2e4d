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

describe('CommandClient, of a connection that closes', () => {
  const server = useServer();

  /** Closes all connections, and resolves when the server has. */
  const kill = (): Promise<unknown> =>
    server.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

  const blocked = (): Promise<void> =>
    eventually(async () => {
      const info = await server.redis.info('clients');
      expect(info).toContain('blocked_clients:1');
    });

  it('does again what was under way, by a new client', async () => {
    const { commands, opened } = clientOn(server);
    const waiting = commands.run((redis) => redis.blpop('list', 0));
    await blocked();
    await kill();
    await blocked();
    await server.redis.rpush('list', 'v');

    expect(await waiting).toEqual(['list', 'v']);
    expect(opened).toHaveLength(2);
    expect(await server.connections()).toHaveLength(1);
  });

  it('does not do again what is to be done now or never', async () => {
    const { commands, attempts } = clientOn(server);
    // It may reject before the kill is answered.
    const error = commands
      .runNow((redis) => redis.blpop('list', 0))
      .catch((reason: unknown) => reason);
    await blocked();
    await kill();

    expect(await error).toMatchObject({ message: 'the connection closed' });
    await expect(
      commands.runNow((redis) => redis.rpush('list', 'v')),
    ).rejects.toThrow('there is no connection');
    await commands.run((redis) => redis.ping());
    expect(await server.redis.llen('list')).toBe(0);
    expect(attempts.all).toEqual([1]);
  });

  it('sends what waits for the next one in the order in which it was given', async () => {
    const { commands } = clientOn(server);
    await server.process.kill();
    const pushes = Array.from({ length: 50 }, (_, i) =>
      commands.run((redis) => redis.rpush('list', i)),
    );
    await server.process.restart();
    await Promise.all(pushes);

    const list = await server.redis.lrange('list', 0, -1);
    expect(list).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
  });

  it('rejects what waits when it is closed', async () => {
    const { commands } = clientOn(server, { port: 1 });
    const waiting = commands.run((redis) => redis.ping());
    await eventually(() => expect(commands.lastError).toMatch('ECONNREFUSED'));
    commands.close();

    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(commands.run((redis) => redis.ping())).rejects.toMatchObject({
      code: 'CLOSED',
    });
  });
});

describe('CommandClient, that cannot be connected', () => {
  const server = useServer();

  it('goes on where no client can be made for a while', async () => {
    let hasToken = false;
    const commands = new CommandClient({
      open: () => {
        if (!hasToken) throw new Error('no token');
        return server.client(ownClientOptions('commands'));
      },
      connectTimeout: 5_000,
      retryDelay: () => 5,
      log: noLog,
    });
    onTestFinished(() => commands.close());
    const asked = commands.run((redis) => redis.ping());
    await eventually(() => expect(commands.lastError).toBe('no token'));
    hasToken = true;

    expect(await asked).toBe('PONG');
    expect(commands.lastError).toBeUndefined();
  });

  it('says so where its login is refused, until it is let in', async () => {
    await server.redis.acl('SETUSER', 'app', 'on', '>new', '~*', '+@all');
    const login = { username: 'app', password: 'old' };
    const { commands } = clientOn(server, login);
    const asked = commands.run((redis) => redis.ping());
    await eventually(() => expect(commands.refusal).toMatch(/^WRONGPASS/));
    expect(commands.connected).toBe(false);
    await server.redis.acl('SETUSER', 'app', '>old');

    expect(await asked).toBe('PONG');
    expect(commands.refusal).toBeUndefined();
  });

  it('sends nothing to another database than the one that it was to choose', async () => {
    const { commands, opened } = clientOn(server, { db: 99 });
    const asked = commands.run((redis) => redis.set('k', '1'));
    asked.catch(() => undefined);
    await eventually(() => expect(opened.length).toBeGreaterThan(2));

    expect(commands.refusal).toMatch(/DB index/);
    expect(await server.redis.exists('k')).toBe(0);
  });
});
