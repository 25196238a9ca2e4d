import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { writer } from '../../support/armed/writer.js';
import { keyForSlot, slotOf, useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { AllPartitions } from '../../support/group/all-partitions.js';
import { handler } from '../../support/group/app.js';

const MINUTE = 60_000;
const keysOf = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `k:${i}`);

describe('keys that are armed on a Cluster', () => {
  const cluster = useCluster(3);
  const connection = () => ({ connection: { nodes: cluster.nodes } });

  async function instance() {
    const events = collect<KeyExpiredEvent>();
    const app = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ ...connection(), group: 'presence' }),
      ],
      providers: [handler('*', events.add)],
    });
    return { ...app, events };
  }
  const gone = async (keys: readonly string[]) => {
    const redis = await cluster.connect();
    await eventually(async () => {
      for (const key of keys) expect(await redis.exists(key)).toBe(0);
    });
  };

  it('are known to the partition of the primary that serves them, before any instance ever ran', async () => {
    const { keys } = await writer(connection());
    const names = keysOf(300);

    const armed = await keys.armMany(
      names.map((key) => ({ key, ttl: MINUTE, value: key })),
    );

    expect(armed.every(({ created }) => created)).toBe(true);
    const redis = await cluster.connect();
    const partitions = await new AllPartitions(redis, 'presence').keys();
    expect(partitions).toHaveLength(3);
    let count = 0;
    for (const { index } of partitions) {
      const primary = await cluster.primaryOf(index);
      const members = await redis.zrange(index, '0', '-1');
      for (const key of members)
        expect(await cluster.primaryOf(key)).toBe(primary);
      count += members.length;
    }
    expect(count).toBe(300);
    for (const key of names) expect(await redis.get(key)).toBe(key);
  });

  it('are handed over, though they were created and ran out before any instance ran, and none that was cancelled', async () => {
    const { keys } = await writer(connection());
    const names = keysOf(90);
    const armed = await keys.armMany(
      names.map((key, i) => ({ key, ttl: i % 3 === 1 ? MINUTE : 1 })),
    );
    const cancelled = names.filter((_, i) => i % 3 === 1);
    expect(await Promise.all(cancelled.map((key) => keys.cancel(key)))).toEqual(
      cancelled.map(() => true),
    );
    await gone(names);

    const { events } = await instance();

    const received = await events.next(60);
    const told = Object.fromEntries(
      received.map(({ key, deadline }) => [key, deadline]),
    );
    expect(told).toEqual(
      Object.fromEntries(
        names.flatMap((key, i) =>
          i % 3 === 1 ? [] : [[key, armed[i]!.deadline]],
        ),
      ),
    );
    const partitions = new AllPartitions(await cluster.connect(), 'presence');
    await eventually(async () =>
      expect(await partitions.sum((r, { index }) => r.zcard(index))).toBe(0),
    );
    expect(events.rest).toEqual([]);
  });

  it('are written where they are while their slot is on its way, and after that', async () => {
    const { keys } = await writer(connection());
    const redis = await cluster.connect();
    const slot = 77;
    const inSlot = (name: string) => `{${keyForSlot(slot)}}${name}`;
    const [there, late, removed] = ['there', 'late', 'removed'].map(inSlot);
    await keys.armMany([
      { key: there!, ttl: MINUTE },
      { key: removed!, ttl: MINUTE },
    ]);
    const from = await cluster.primaryOf(slot);
    const to = (await cluster.primaries()).find((one) => one !== from)!;
    let steps = 0;
    const cancelled: boolean[] = [];
    const during = async () => {
      // What is there is still where it was, and what comes is created where it is going to.
      const fresh = inSlot(`fresh:${steps++}`);
      expect(await keys.arm(fresh, { ttl: MINUTE })).toMatchObject({
        created: true,
      });
      expect(await keys.arm(fresh, { ttl: 2 * MINUTE })).toMatchObject({
        created: false,
      });
      expect(await keys.renew(there!, { ttl: 3 * MINUTE, value: 'new' })).toBe(
        true,
      );
      expect(await keys.enrol([there!, fresh])).toBe(2);
      if (steps === 1) {
        cancelled.push(await keys.cancel(removed!));
        await keys.arm(late!, { ttl: 400 });
      }
    };

    await cluster.moveSlot(slot, to, { batch: 1, pauseBetween: during });

    expect(steps).toBeGreaterThan(1);
    expect(cancelled).toEqual([true]);
    expect(await redis.exists(removed!)).toBe(0);
    expect(await redis.get(there!)).toBe('new');
    await during();
    expect(await cluster.primaryOf(there!)).toBe(to);
    await gone([late!]);
    const { events } = await instance();
    expect(await events.one()).toMatchObject({ key: late });
    expect(await keys.cancel(there!)).toBe(true);
    expect(slotOf(there!)).toBe(slot);
    expect(events.rest).toEqual([]);
  });

  it('are written after a primary was replaced', async () => {
    const { keys } = await writer(connection());
    const key = 'k';
    await keys.arm(key, { ttl: MINUTE });
    const from = await cluster.primaryOf(key);
    const to = (await cluster.primaries()).find((one) => one !== from)!;

    // With the slots of the partition and of the key.
    await cluster.moveSlot(slotOf(key), to);
    const redis = await cluster.connect();
    const partitions = await new AllPartitions(redis, 'presence').keys();
    for (const { index } of partitions)
      if ((await cluster.primaryOf(index)) === from)
        await cluster.moveSlot(slotOf(index), to);

    expect(await keys.renew(key, { ttl: 50 })).toBe(true);
    await gone([key]);
    const { events } = await instance();
    expect(await events.one()).toMatchObject({ key });
  });
});
