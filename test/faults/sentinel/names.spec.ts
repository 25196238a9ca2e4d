import { setTimeout as delay } from 'node:timers/promises';
import type { NatMap, RedisOptions } from 'ioredis';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { createApp, recording } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { type TestSentinel, useSentinel } from '../../support/sentinel.js';
import type { TestServer } from '../../support/servers.js';

const path = inject('redisServerPath');

/** Has the primary replaced by command; checks that it costs each connection one reconnect, and returns how many gaps. */
async function gapsOfFailover(
  sentinel: TestSentinel,
  connection: RedisOptions,
): Promise<number> {
  const events = collect<KeyExpiredEvent>();
  const { subscriber } = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: { name: sentinel.name, ...connection },
      }),
    ],
    providers: [recording(events, 'k*')],
  });
  await subscriber.ready();
  const node = () => subscriber.status().nodes[0]!;

  const { server } = await sentinel.failover();
  await eventually(() => {
    expect(node().lastGap?.to).toBeDefined();
    expect(node().state).toBe('listening');
  });
  const ids = async (of: TestServer): Promise<string[]> =>
    (await of.connections()).map(({ id }) => id).toSorted();
  await eventually(async () => expect(await ids(server)).toHaveLength(2));
  const connected = await ids(server);
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
  // Over more than a second: connections are looked at once more.
  for (const [i, key] of keys.entries())
    await server.redis.set(key, '', 'PX', 100 + 40 * i);
  const handled = await events.next(50);
  await delay(500);

  expect(handled.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
  expect(events.rest).toEqual([]);
  expect(await ids(server)).toEqual(connected);
  return node().gaps;
}

describe('Sentinels that answer with host names', () => {
  const sentinel = useSentinel({ path, hostnames: true });

  it('cost one gap and one reconnect for a failover', async () => {
    const [host, port] = (await sentinel.sentinelServers[0]!.redis.call(
      ...(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', sentinel.name] as const),
    )) as string[];
    expect([host, Number(port)]).toEqual([
      'localhost',
      (await sentinel.primary()).port,
    ]);
    const { sentinels } = sentinel;
    expect(await gapsOfFailover(sentinel, { sentinels })).toBe(1);
  });
});

describe('Sentinels', () => {
  const sentinel = useSentinel({ path });

  it('whose addresses are mapped cost one gap and one reconnect for a failover', async () => {
    const natMap: Exclude<NatMap, (key: string) => unknown> = {};
    const all = [...sentinel.servers, ...sentinel.sentinelServers];
    for (const { address, port } of all) {
      const proxy = await TcpProxy.start(port);
      onTestFinished(() => proxy.close());
      natMap[address] = { host: '127.0.0.1', port: proxy.port };
    }
    const sentinels = sentinel.sentinelServers.map(
      ({ address }) => natMap[address]!,
    );
    expect(await gapsOfFailover(sentinel, { sentinels, natMap })).toBe(1);
  });

  it('that others name are asked, and are connected by when those of the options are gone', async () => {
    const [first, ...others] = sentinel.sentinelServers;
    const { sentinels } = sentinel;
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { name: sentinel.name, sentinels: [sentinels[0]!] },
        }),
      ],
      providers: [recording(collect(), 'k*')],
    });
    await subscriber.ready();
    const asking = async (): Promise<number[]> => {
      const lists = sentinel.sentinelServers
        .filter(({ process }) => process.running)
        .map(async ({ redis }) => {
          const list = (await redis.client('LIST')) as string;
          return list.match(/name=redis-expiry/g)?.length ?? 0;
        });
      return Promise.all(lists);
    };
    await eventually(async () => expect(await asking()).toEqual([1, 1, 1]));

    await first!.kill();
    const primary = await sentinel.primary();
    await primary.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually(() => {
      expect(subscriber.status().nodes).toMatchObject([
        { state: 'listening', gaps: 1 },
      ]);
    });
    expect(await asking()).toEqual(others.map(() => 1));
  });
});
