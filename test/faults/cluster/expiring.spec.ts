import { describe, expect, it } from 'vitest';
import {
  type KeyExpiringEvent,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { useCluster } from '../../support/cluster.js';
import { type Collector, collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { keysIn, moveSlowly } from '../../support/faults/moving-slots.js';
import { warned } from '../../support/expiring.js';
import { AllPartitions } from '../../support/group/all-partitions.js';
import { History, names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';

/** The keys of these tests outlive them, so that no warning may be left out. */
const BEFORE = 300_000;
const cluster = useCluster(3);

async function instance(
  options: RedisExpiryModuleOptions,
): Promise<Collector<KeyExpiringEvent>> {
  const warnings = collect<KeyExpiringEvent>();
  const { subscriber } = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        ...{ connection: { nodes: cluster.nodes }, ...options },
      }),
    ],
    providers: [warned('*k*', { before: BEFORE }, warnings.add)],
  });
  await subscriber.ready();
  return warnings;
}

const told = (events: readonly KeyExpiringEvent[]): string[] =>
  events.map(({ key, deadline }) => `${key} ${deadline.getTime()}`).toSorted();

describe('warnings on a Cluster', () => {
  it.each<[mode: string, options: RedisExpiryModuleOptions]>([
    ['in broadcast', {}],
    ['in a group', { group: 'presence' }],
  ])('come from every primary, once, %s', async (_mode, options) => {
    const redis = await cluster.connect();
    const warnings = await instance(options);
    const deadline = Date.now() + BEFORE + paced(2_000);
    const keys = names('k', 90);
    await Promise.all(
      keys.map((key, i) => redis.set(key, '1', 'PXAT', deadline + i)),
    );

    const events = await warnings.next(90);

    expect(told(events)).toEqual(
      keys.map((key, i) => `${key} ${deadline + i}`).toSorted(),
    );
    expect(new Set(events.map(({ source }) => source))).toEqual(
      new Set(['notification']),
    );
    await redis.set('k-last', '1', 'PX', BEFORE + 500);
    expect((await warnings.one()).key).toBe('k-last');
  });

  it(
    'are lost and repeated by no move of slots, in a group',
    { timeout: 180_000 },
    async () => {
      const redis = await cluster.connect();
      const apps = [
        await instance({ group: 'presence' }),
        await instance({ group: 'presence' }),
      ];
      const slots = [5, 6, 7];
      const keys = keysIn(slots, 'k', 60);
      const history = new History();
      const began = Date.now() + paced(3_000);
      await Promise.all(
        keys.map(async (key, i) => {
          const at = began + Math.round((i * 9_000) / keys.length);
          history.set(key, at);
          await redis.set(key, '1', 'PXAT', at + BEFORE);
        }),
      );
      const partitions = new AllPartitions(redis, 'presence');
      const ahead = () =>
        partitions.sum((node, { warnings }) =>
          node.zcard(`${warnings}:${BEFORE}:ahead`),
        );
      await eventually(async () => expect(await ahead()).toBe(180));

      const to = cluster.servers[1]!;
      const onTheWay = await moveSlowly(cluster, slots, to, keys, history);

      const all = () => apps.flatMap((warnings) => warnings.all);
      await eventually(() =>
        expect(all().length).toBeGreaterThanOrEqual(keys.length),
      );
      console.log(
        `${onTheWay} of 180 were due while their slot was on its way`,
      );
      await redis.set('k-last', '1', 'PX', BEFORE + 1_000);
      await eventually(() =>
        expect(all().map(({ key }) => key)).toContain('k-last'),
      );
      // A deadline is some ms later at each node to which the key came.
      expect(
        all()
          .map(({ key }) => key)
          .toSorted(),
      ).toEqual([...keys, 'k-last'].toSorted());
      await eventually(async () => expect(await ahead()).toBe(0));
    },
  );
});
