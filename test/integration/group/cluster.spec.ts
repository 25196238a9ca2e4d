import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { AllPartitions } from '../../support/group/all-partitions.js';
import { handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';
import { names } from '../../support/group/history.js';

const cluster = useCluster(3);

function instance(onExpired: (event: KeyExpiredEvent) => unknown, module = {}) {
  return createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: { nodes: cluster.nodes },
        group: 'presence',
        ...module,
      }),
    ],
    providers: [handler('*', onExpired)],
  });
}

const keysOf = (events: readonly KeyExpiredEvent[]): string[] =>
  events.map(({ key }) => key).toSorted();

describe('a group on a Cluster', () => {
  it('hands each expiry to one of its instances, whatever node it is on', async () => {
    const redis = await cluster.connect();
    const events = collect<KeyExpiredEvent>();
    for (let i = 0; i < 2; i++) await instance(events.add);
    const all = names('k', 300).toSorted();
    // Long enough for all to be known before they run out.
    await Promise.all(
      all.map((key) => redis.set(key, '1', 'PX', paced(2_500))),
    );

    const received = await events.next(300);

    expect(keysOf(received)).toEqual(all);
    expect(new Set(received.map(({ source }) => source))).toEqual(
      new Set(['notification']),
    );
    for (const { deadline } of received) expect(deadline).toBeDefined();
    await redis.set('last', '1', 'PX', 50);
    expect(keysOf([await events.one()])).toEqual(['last']);
  });

  it('says nothing of keys that were deleted, renewed or made to last', async () => {
    const redis = await cluster.connect();
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await instance(events.add);
    const all = names('k', 90);
    await Promise.all(all.map((key) => redis.set(key, '1', 'PX', paced(700))));
    await eventually(() =>
      expect(subscriber.status().groups[0]!.nodes.length).toBe(3),
    );
    await Promise.all(
      all.map((key, i) =>
        i % 3 === 0
          ? redis.del(key)
          : i % 3 === 1
            ? redis.persist(key)
            : redis.set(key, '2', 'PX', paced(1_500)),
      ),
    );

    const received = await events.next(30);

    expect(keysOf(received)).toEqual(
      all.filter((_, i) => i % 3 === 2).toSorted(),
    );
    await redis.set('last', '1', 'PX', 50);
    expect(keysOf([await events.one()])).toEqual(['last']);
  });

  it('finds what expired while no instance ran, and not what was deleted', async () => {
    const redis = await cluster.connect();
    const before = await instance(() => undefined);
    const all = names('k', 200);
    // Longer than it takes one instance to end and another to start.
    const deadline = Date.now() + paced(2_500);
    await Promise.all(all.map((key) => redis.set(key, '1', 'PXAT', deadline)));
    const partitions = new AllPartitions(redis, 'presence');
    const indexed = () => partitions.sum((r, { index }) => r.zcard(index));
    await eventually(async () => expect(await indexed()).toBe(200));
    await before.app.close();
    await Promise.all(all.slice(0, 100).map((key) => redis.del(key)));
    const events = collect<KeyExpiredEvent>();
    await instance(events.add);

    const received = await events.next(100);

    expect(keysOf(received)).toEqual(all.slice(100).toSorted());
    await eventually(async () => expect(await indexed()).toBe(0));
  });

  it('refuses a namespace by which its keys would not live together', async () => {
    await expect(
      instance(() => undefined, { namespace: 'a{}b' }),
    ).rejects.toEqual(expect.objectContaining({ code: 'GROUP_REFUSED' }));
  });

  it('has a partition on each primary, which one of its instances watches', async () => {
    const { subscriber } = await instance(() => undefined);
    const [group] = subscriber.status().groups;
    expect(group).toBeDefined();
    const { partitions } = group!;
    expect(new Set(partitions.map(({ node }) => node))).toEqual(
      new Set(cluster.servers.map(({ port }) => `127.0.0.1:${port}`)),
    );
    expect(partitions).toHaveLength(cluster.servers.length);
    expect(partitions.every(({ leads }) => leads)).toBe(true);
    expect(group!.nodes).toHaveLength(cluster.servers.length);
  });
});
