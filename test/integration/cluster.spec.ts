import { randomBytes } from 'node:crypto';
import { Cluster } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyExpiredEvent } from '../../lib/index.js';
import { slotOf } from '../../lib/topology/hash-slot.js';
import {
  type TestOptions,
  createApp,
  recording,
  redisExpiry,
} from '../support/app.js';
import { useCluster } from '../support/cluster.js';
import { collect } from '../support/collect.js';
import { deferred, eventually } from '../support/eventually.js';
import { paced } from '../support/paced.js';
import { expire, useServer } from '../support/servers.js';

const cluster = useCluster(3);

type Connection = TestOptions['connection'];

async function listen(connection: Connection, options: TestOptions = {}) {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [redisExpiry(cluster.servers[0]!, { connection, ...options })],
    providers: [recording(events, 'device:*')],
  });
  return { ...app, events, subscriber: app.subscriber };
}

const devices = (count: number) =>
  Array.from({ length: count }, (_, i) => `device:${i}`);

const keys = (events: readonly KeyExpiredEvent[]) =>
  events.map(({ key }) => key).toSorted();

describe('a Cluster', () => {
  it.each<[form: string, connection: () => Connection | Promise<Connection>]>([
    ['by all its nodes', () => ({ nodes: cluster.nodes })],
    ['by one node', () => ({ nodes: [cluster.nodes[1]!] })],
    ['by a URL', () => ({ nodes: [cluster.servers[2]!.url] })],
    ["by a client of the user's", () => cluster.connect()],
    [
      "by a client of the user's that reads from replicas",
      () => cluster.connect({ scaleReads: 'slave' }),
    ],
  ])('%s is heard on every primary', async (_, connection) => {
    const redis = await cluster.connect();
    const { events, subscriber } = await listen(await connection());

    await expire(redis, ...devices(30), 'other');

    expect(keys(await events.next(30))).toEqual(devices(30).toSorted());
    const { nodes, counters } = subscriber.status();
    expect(counters.received).toBe(30);
    expect(nodes.map(({ address }) => address).toSorted()).toEqual(
      cluster.servers.map(({ address }) => address).toSorted(),
    );
    for (const node of nodes) {
      expect(node).toMatchObject({
        state: 'listening',
        role: 'primary',
        patterns: ['device:*'],
      });
    }
    const perNode = await Promise.all(
      cluster.servers.map((server) => server.redis.info('stats')),
    );
    const expired = perNode.map((info) =>
      Number(/^expired_keys:(\d+)/m.exec(info)![1]),
    );
    // Else it would not have been a test of all of them.
    expect(Math.min(...expired)).toBeGreaterThan(1);
  });

  it('knows the slot of every key', async () => {
    const redis = await cluster.connect();
    const keys = ['', 'a', '{a}b', 'a{}b', 'a{b}{c}', 'a{{b}}c', '}{', 'é{ü}'];
    for (let i = 0; i < 200; i++)
      keys.push(randomBytes(i % 40).toString('latin1'));
    for (const key of keys)
      expect([key, slotOf(key)]).toEqual([
        key,
        await redis.cluster('KEYSLOT', key),
      ]);
  });

  it('proves on every primary that it hears expiries', async () => {
    const { subscriber } = await listen({ nodes: cluster.nodes });

    const { nodes } = subscriber.status();
    expect(nodes.map(({ selfTest }) => selfTest)).toEqual(
      nodes.map(() => 'passed'),
    );
  });

  it('has its flags completed on every primary', async () => {
    await cluster.servers[1]!.setFlags('Kg$');
    await cluster.servers[2]!.setFlags('Ex');
    await listen({ nodes: cluster.nodes });

    const flags = await Promise.all(cluster.servers.map((s) => s.flags()));
    expect(flags.map((text) => Array.from(text).toSorted().join(''))).toEqual([
      'Kx',
      '$Kgx',
      'Ex',
    ]);
  });

  it('is subscribed to, and unsubscribed from, on every primary', async () => {
    const { subscriber } = await listen({ nodes: cluster.nodes });
    const patterns = () =>
      Promise.all(
        cluster.servers.map(async (s) => (await s.subscriptions()).patterns),
      );
    expect(await patterns()).toEqual([1, 1, 1]);

    const subscription = await subscriber.subscribe('other:*', () => {});
    expect(await patterns()).toEqual([2, 2, 2]);

    await subscription.unsubscribe();
    expect(await patterns()).toEqual([1, 1, 1]);
  });

  it.each([
    ['outside', { keyPrefix: 'a*:' }],
    ['inside', { redisOptions: { keyPrefix: 'a*:' } }],
  ])('may have a keyPrefix, %s the redisOptions', async (_, options) => {
    const redis = await cluster.connect();
    const { events } = await listen({ nodes: cluster.nodes, options });

    await expire(redis, 'device:1', 'aX:device:2', 'a*:device:3');

    expect((await events.one()).key).toBe('device:3');
  });

  it('is asked whether a key was written again', async () => {
    const redis = await cluster.connect();
    const { subscriber } = await listen(
      { nodes: cluster.nodes },
      { concurrency: 1 },
    );
    const handled = collect<string>();
    const held = deferred();
    await subscriber.subscribe('job:*', async ({ key }) => {
      handled.add(key);
      await held.promise;
    });
    await expire(redis, 'job:first');
    await handled.one();
    const jobs = Array.from({ length: 12 }, (_, i) => `job:${i}`);
    await expire(redis, ...jobs);
    await eventually(() => expect(subscriber.status().queued).toBe(12));

    const again = jobs.filter((_, i) => i % 2 === 0);
    await Promise.all(again.map((job) => redis.set(job, '')));
    held.resolve();

    const rest = jobs.filter((_, i) => i % 2 === 1);
    expect((await handled.next(6)).toSorted()).toEqual(rest.toSorted());
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        handled: 7,
        superseded: 6,
      }),
    );
  });

  it("does not change or close a client of the user's", async () => {
    const client = await cluster.connect({ keyPrefix: 'app:' });
    const stateOf = () => ({
      status: client.status,
      options: { ...client.options },
      nodes: client
        .nodes()
        .map(({ options }) => options.port!)
        .toSorted((a, b) => a - b),
      listeners: client
        .eventNames()
        .map((name) => [String(name), client.listeners(name)]),
    });
    await client.get('connects to the node');
    const before = stateOf();
    const { events, close } = await listen(client);
    expect(stateOf()).toEqual(before);

    await expire(client, 'device:1');
    expect((await events.one()).key).toBe('device:1');

    await close();
    expect(stateOf()).toEqual(before);
    await client.set('still', 'usable');
    expect(await client.get('still')).toBe('usable');
  });

  it('serves psubscribe on every primary', async () => {
    const redis = await cluster.connect();
    const { subscriber } = await listen({ nodes: cluster.nodes });
    const heard = collect<string>();
    await subscriber.psubscribe('__keyevent@0__:expired', (...parts) =>
      heard.add(parts.at(-1)!),
    );

    await expire(redis, ...devices(20));

    expect((await heard.next(20)).toSorted()).toEqual(devices(20).toSorted());
  });

  it('that is not there fails the start with a clear error', async () => {
    await expect(
      listen({
        nodes: [{ host: '127.0.0.1', port: 1 }],
        options: { redisOptions: { connectTimeout: 300 } },
      }),
    ).rejects.toMatchObject({
      name: 'RedisExpiryError',
      code: 'CONNECT_FAILED',
    });
  });

  it('may be given as a client that is not connected', async () => {
    const client = new Cluster(cluster.nodes, { lazyConnect: true });
    onTestFinished(() => client.disconnect());
    const redis = await cluster.connect();
    const { events, subscriber } = await listen(client);
    await subscriber.ready();

    await expire(redis, ...devices(10));

    expect(keys(await events.next(10))).toEqual(devices(10).toSorted());
    expect(client.status).toBe('wait');
  });
});

describe('a Cluster of one node that never met another', () => {
  const alone = useServer({ args: ['--cluster-enabled', 'yes'] });

  it('is said not to tell its address', async () => {
    await alone.redis.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
    const { host, port } = alone;

    await expect(
      listen({
        nodes: [{ host, port }],
        options: { redisOptions: { connectTimeout: paced(1_000) } },
      }),
    ).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining('cluster-announce-ip'),
    });
  });
});
