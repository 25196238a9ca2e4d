import { expect, it } from 'vitest';
import { createApp, redisExpiry } from '../support/app.js';
import { bytesLeft } from '../support/heap.js';
import { useServer } from '../support/servers.js';

const server = useServer();

it('nothing is left on the heap of subscriptions that ended', async () => {
  const { subscriber } = await createApp({ imports: [redisExpiry(server)] });
  let made = 0;
  // Long, so that one that is remembered somewhere shows.
  const patterns = (count: number): string[] =>
    Array.from({ length: count }, () => `k:${made++}:*`.padEnd(3_000, 'x'));

  const left = await bytesLeft(500, async (times) => {
    for (let i = 0; i < times; i += 50) {
      const subscriptions = await Promise.all(
        patterns(50).map((each) => subscriber.subscribe(each, () => 0)),
      );
      await Promise.all(subscriptions.map((each) => each.unsubscribe()));
    }
  });

  expect(left).toBeLessThan(1_000);
});

it('nothing is left on the heap of expirations() whose subscribers left', async () => {
  const { subscriber } = await createApp({ imports: [redisExpiry(server)] });
  // Keeps the subscription at Redis, so that only what each call costs is measured.
  await subscriber.subscribe('k:*', () => 0);

  const left = await bytesLeft(3_000, async (times) => {
    for (let i = 0; i < times; i++)
      subscriber.expirations('k:*').subscribe().unsubscribe();
    // Acknowledged after all of them.
    await (await subscriber.subscribe('last', () => 0)).unsubscribe();
  });

  expect(left).toBeLessThan(200);
});
