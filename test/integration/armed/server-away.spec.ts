import { describe, expect, it, onTestFinished } from 'vitest';
import { writer } from '../../support/armed/writer.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { useServer } from '../../support/servers.js';

const server = useServer();
const MINUTE = 60_000;
const INDEX = 'rx:{presence}:index';

describe('arming a key', () => {
  async function proxied(connectTimeout: number) {
    const proxy = await TcpProxy.start(server.port);
    onTestFinished(() => proxy.close());
    const { keys, ...app } = await writer({
      connection: { port: proxy.port, connectTimeout },
    });
    return { proxy, keys, ...app };
  }

  it('waits while no server is there, and gives up after connectTimeout', async () => {
    const { keys } = await writer({
      connection: { port: 1, connectTimeout: 700 },
    });

    await expect(keys.arm('k', { ttl: MINUTE })).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringMatching(
        /within 700 ms \(connectTimeout\): connect ECONNREFUSED/,
      ) as string,
    });
  });

  it('is done once the server is there', async () => {
    const { keys, proxy } = await proxied(30_000);
    await proxy.refuse();
    const first = keys.arm('first', { ttl: MINUTE });
    const second = keys.arm('second', { ttl: MINUTE });

    await proxy.pass();

    for (const armed of [first, second])
      expect(await armed).toMatchObject({ created: true });
    expect(await server.redis.zcard(INDEX)).toBe(2);
  });

  it('rejects with CONNECTION_LOST where it may have been done, and is not done twice', async () => {
    const { keys, proxy } = await proxied(10_000);
    await keys.arm('k', { ttl: MINUTE });
    // The answer takes minutes.
    proxy.throttle(1);
    const cancelled = keys.cancel('k');
    cancelled.catch(() => undefined);
    await eventually(async () =>
      expect(await server.redis.exists('k')).toBe(0),
    );

    proxy.cut();

    await expect(cancelled).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringContaining('may or may not') as string,
    });
  });

  it('waits for a server that loads its data or takes no writes as a replica', async () => {
    const { keys } = await writer({ connection: server.url });
    await keys.arm('k', { ttl: MINUTE });
    await server.redis.call('REPLICAOF', '127.0.0.1', '1');
    const renewed = keys.renew('k', { ttl: 2 * MINUTE, value: 'x' });
    await eventually(async () => {
      const stats = await server.redis.info('errorstats');
      expect(stats).toContain('errorstat_READONLY');
    });

    await server.redis.call('REPLICAOF', 'NO', 'ONE');

    expect(await renewed).toBe(true);
    expect(await server.redis.get('k')).toBe('x');
  });
});
