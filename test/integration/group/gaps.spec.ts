import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { TcpProxy } from '../../support/faults/tcp-proxy.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

const INDEX = 'rx:{presence}:index';

describe.each([
  ['a group', 0],
  ['a group over a link of 4 ms each way', 4],
])('%s that was away', (_, latency) => {
  const server = useServer();
  let link: TcpProxy;
  beforeAll(async () => {
    link = await TcpProxy.start(server.port, { latency });
  });
  afterAll(() => link.close());
  const tracked = (count: number) =>
    eventually(async () => {
      expect(await server.redis.zcard(INDEX)).toBe(count);
    });
  /** Keys whose expiry a group has to know, and that is down by the time it comes. */
  async function knownAndLeft(keys: readonly string[], ms: number) {
    const { close } = await groupApp(link, [handler('[^r]*', () => undefined)]);
    const deadline = Date.now() + ms;
    for (const key of keys) await server.redis.set(key, '1', 'PXAT', deadline);
    await tracked(keys.length);
    await eventually(async () => {
      expect(await server.redis.exists('rx:{presence}:watched')).toBe(1);
    });
    await close();
    expect(Date.now()).toBeLessThan(deadline);
  }
  const goneFromRedis = (keys: readonly string[]) =>
    eventually(async () => {
      expect(await server.redis.exists(...keys)).toBe(0);
    });

  it('recovers what expired meanwhile, and what still lives is on time', async () => {
    const lapsed = names('lapsed', 30);
    await knownAndLeft([...lapsed, 'later'], paced(2_500));
    await server.redis.pexpire('later', 60_000);
    await goneFromRedis(lapsed);
    const events = collect<KeyExpiredEvent>();
    const { subscriber } = await groupApp(link, [handler('[^r]*', events.add)]);
    const recovered = await events.next(30);

    expect(recovered.map(({ key }) => key).toSorted()).toEqual(
      lapsed.toSorted(),
    );
    for (const event of recovered) {
      expect(event).toMatchObject({ source: 'recovery', attempt: 1 });
      expect(event.id).toBe(`${event.key}@${event.deadline!.getTime()}`);
    }
    expect(subscriber.status().counters.recovered).toBe(30);
    const deadline = Date.now() + 300;
    await server.redis.pexpireat('later', deadline);
    const later = await events.one();
    expect(later).toMatchObject({ key: 'later', source: 'notification' });
    expect(Math.abs(later.deadline!.getTime() - deadline)).toBeLessThan(3);
    await groupIsDone(server);
    expect(events.all).toHaveLength(31);
  });

  it('finds what was deleted meanwhile, and makes no event of it in a later absence', async () => {
    const deleted = names('deleted', 700);
    await knownAndLeft(deleted, paced(20_000));
    await server.redis.del(...deleted);
    const events = collect<KeyExpiredEvent>();
    const second = await groupApp(link, [handler('[^r]*', events.add)]);
    await tracked(0);
    await second.close();
    expect(events.all).toEqual([]);
  });

  it('recovers also what expired after an instance that had hardly begun', async () => {
    // Killed, or closed, before it renewed its lease for the first time: all that it left is this.
    const deadline = Date.now() + 50;
    await server.redis.set('k', '1', 'PXAT', deadline);
    const { close } = await groupApp(link, [handler('k', () => undefined)]);
    await close();
    expect(await server.redis.exists('rx:{presence}:watched')).toBe(1);
  });

  it('makes one event of an expiry that a stalled instance enrols again, late', async () => {
    await knownAndLeft(['k'], paced(1_500));
    await goneFromRedis(['k']);
    const events = collect<KeyExpiredEvent>();
    await groupApp(link, [handler('[^r]*', events.add)]);
    const event = await events.one();
    expect(event).toMatchObject({ key: 'k', source: 'recovery' });
    await groupIsDone(server);

    // An instance that slept between reading the TTL and noting it, as in TtlBatcher and scanDeadlines.
    await server.redis.zadd(INDEX, 'LT', event.deadline!.getTime(), 'k');
    await server.redis.set('fence', '1', 'PX', 100);
    expect((await events.one()).key).toBe('fence');
    await tracked(0);
    await groupIsDone(server);

    expect(events.all.map(({ id }) => id)).toEqual([
      event.id,
      expect.stringMatching(/^fence@/),
    ]);
  });

  it('remembers no announcement of the time before it was ready, for a later life of the key', async () => {
    const { redis } = server;
    const events = collect<KeyExpiredEvent>();
    let ready = false;
    const keys: string[] = [];
    const starting = groupApp(link, [handler('k*', events.add)]).then(
      async ({ subscriber }) => {
        await subscriber.ready();
        ready = true;
      },
    );
    // Created and gone, from before the start until after it.
    while (!ready) {
      const batch = names(`k${keys.length}-`, 20);
      await redis
        .pipeline(batch.map((key) => ['set', key, '1', 'PX', '1']))
        .exec();
      await goneFromRedis(batch);
      keys.push(...batch);
    }
    await starting;
    await redis.set('k-fence', '1', 'PX', 200);
    await eventually(() =>
      expect(events.all.map(({ key }) => key)).toContain('k-fence'),
    );
    await groupIsDone(server);
    const before = events.all.length;

    // A second life, which ends by being deleted.
    for (const key of keys) await redis.set(key, '2', 'PX', 60_000);
    await tracked(keys.length);
    for (const key of keys) await redis.del(key);
    await tracked(0);
    await redis.set('k-fence', '1', 'PX', 200);
    await eventually(() =>
      expect(events.all.slice(before).at(-1)?.key).toBe('k-fence'),
    );
    await groupIsDone(server);

    const after = events.all.slice(before).map(({ key }) => key);
    expect(after).toEqual(['k-fence']);
    expect((await groupState(server))['index']).toBeUndefined();
  });
});
