import { expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';

const cluster = useCluster(3);

it('hands over what stayed away for its grace, on whichever primary, and nothing that came back', async () => {
  const grace = paced(3_000);
  const events = collect<KeyExpiredEvent & { at: number }>();
  const instance = () =>
    createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { nodes: cluster.nodes },
          group: 'presence',
        }),
      ],
      providers: [
        handler('k*', (event) => events.add({ ...event, at: Date.now() }), {
          grace,
        }),
      ],
    });
  const apps = [await instance(), await instance()];
  const statuses = () => apps.map(({ subscriber }) => subscriber.status());
  const redis = await cluster.connect();
  const set = (keys: string[], deadline: number) =>
    Promise.all(keys.map((key) => redis.set(key, '1', 'PXAT', deadline)));
  const all = names('k', 90);
  const [away, back, twice] = [0, 1, 2].map((n) =>
    all.filter((_, i) => i % 3 === n),
  ) as [string[], string[], string[]];

  const first = Date.now() + paced(500);
  await set(all, first);
  await eventually(() =>
    expect(statuses()[0]!.groups).toMatchObject([{ inGrace: 90 }]),
  );
  await set(back, Date.now() + 60_000);
  const second = Date.now() + paced(500);
  await set(twice, second);

  const received = await events.next(60);
  await eventually(() => {
    const cameBack = statuses().map(({ counters }) => counters.cameBack);
    expect(cameBack.reduce((sum, count) => sum + count)).toBe(60);
  });

  expect(Object.fromEntries(received.map((e) => [e.key, e.deadline]))).toEqual(
    Object.fromEntries([
      ...away.map((key) => [key, new Date(first)]),
      ...twice.map((key) => [key, new Date(second)]),
    ]),
  );
  for (const { at, deadline, attempt } of received) {
    expect(at).toBeGreaterThanOrEqual(deadline!.getTime() + grace);
    expect(attempt).toBe(1);
  }
  expect(events.all).toHaveLength(60);
  expect(statuses()[0]!.groups[0]!.partitions).toHaveLength(3);
});
