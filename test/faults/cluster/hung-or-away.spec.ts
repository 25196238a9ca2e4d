import { describe, expect, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { slotOf } from '../../../lib/topology/hash-slot.js';
import { createApp } from '../../support/app.js';
import { useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';

const cluster = useCluster(3, { replicas: 1 });

const instance = (
  work: (event: KeyExpiredEvent) => unknown,
  module: object = {},
) =>
  createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: { nodes: cluster.nodes },
        ...module,
      }),
    ],
    providers: [handler('k*', work)],
  });

describe('a Cluster one of whose primaries is away', () => {
  it('is waited for by a group that starts meanwhile', async () => {
    const primary = await cluster.primaryOf(slotOf('rx:{presence}:index'));
    await cluster.kill(primary);
    const events = collect<KeyExpiredEvent>();

    await instance(events.add, { group: 'presence' });

    const redis = await cluster.connect();
    await redis.set('k1', '1', 'PX', 200);
    expect((await events.one()).key).toBe('k1');
  });

  it('drops no event of it when it hung and was replaced, and handles those of the others meanwhile', async () => {
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await instance(events.add);
    const redis = await cluster.connect();
    const primary = cluster.servers[1]!;
    const of = async (key: string) =>
      (await cluster.primaryOf(key)) === primary;
    const there: string[] = [];
    const elsewhere: string[] = [];
    for (const key of names('k', 120))
      ((await of(key)) ? there : elsewhere).push(key);
    for (const key of [...there, ...elsewhere])
      await redis.set(key, '1', 'PX', 700);
    await cluster.wait(there[0]!);

    primary.process.pause();
    const handled = () => new Set(events.all.map(({ key }) => key));
    await eventually(() => {
      const seen = handled();
      expect(elsewhere.filter((key) => !seen.has(key))).toEqual([]);
    });
    await cluster.untilPromoted(primary);
    primary.process.resume();
    await cluster.settled();

    await eventually(() => {
      const { counters, queued, running } = subscriber.status();
      expect({ queued, running }).toEqual({ queued: 0, running: 0 });
      expect(counters.dropped).toBe(0);
    });
  });
});
