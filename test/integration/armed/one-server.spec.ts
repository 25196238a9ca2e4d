import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  RedisExpiryKeys,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { writer } from '../../support/armed/writer.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { paced } from '../../support/paced.js';
import { groupApp, groupState, handler } from '../../support/group/app.js';
import { type TestServer, useServer } from '../../support/servers.js';

const INDEX = 'rx:{presence}:index';
const EVENTS = 'rx:{presence}:events';

const isGone = (server: TestServer, key: string) =>
  eventually(async () => expect(await server.redis.exists(key)).toBe(0));

describe('keys that are armed', () => {
  const server = useServer();
  const url = () => ({ connection: server.url });

  async function instance(options: RedisExpiryModuleOptions = {}) {
    const events = collect<KeyExpiredEvent>();
    const app = await groupApp(server, [handler('*', events.add)], options);
    return { ...app, subscriber: app.subscriber, events };
  }

  /** What the handlers got, once a key that ran out after all others was handled. */
  async function handedOver(
    { keys }: { keys: RedisExpiryKeys },
    { events }: Awaited<ReturnType<typeof instance>>,
  ): Promise<string[]> {
    await keys.arm('~last', { ttl: 20 });
    await eventually(() =>
      expect(events.all.map(({ key }) => key)).toContain('~last'),
    );
    return events.all.map(({ key }) => key).filter((key) => key !== '~last');
  }

  it('are written, and known to the group, in one step', async () => {
    const { keys } = await writer(url());
    const before = Date.now();

    const first = await keys.arm('device:1', { ttl: 60_000, value: 'on' });
    const again = await keys.arm('device:1', {
      ttl: 30_000,
      value: Buffer.from([0xff]),
    });

    expect(first.created).toBe(true);
    expect(again.created).toBe(false);
    expect(first.deadline.getTime()).toBeGreaterThanOrEqual(before + 60_000);
    expect(await server.redis.getBuffer('device:1')).toEqual(
      Buffer.from([0xff]),
    );
    expect(Number(await server.redis.zscore(INDEX, 'device:1'))).toBe(
      again.deadline.getTime(),
    );
    const left = await server.redis.pttl('device:1');
    expect(left).toBeGreaterThan(20_000);
    expect(left).toBeLessThanOrEqual(30_000);
  });

  it('are handed over, though they were created and ran out before any instance ever ran', async () => {
    const alone = await writer(url());
    const { deadline } = await alone.keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');

    const { events } = await instance();

    const event = await events.one();
    expect(event).toMatchObject({ key: 'k', source: 'recovery', deadline });
    expect(event.id).toBe(`k@${deadline.getTime()}`);
    await eventually(async () =>
      expect(await groupState(server)).toMatchObject({ events: 0 }),
    );
    expect(await server.redis.zcard(INDEX)).toBe(0);
  });

  it('are handed over, though they were created and ran out while no instance ran', async () => {
    const { keys } = await writer(url());
    const before = await instance();
    await before.close();
    const { deadline } = await keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');

    const { events } = await instance();

    expect(await events.one()).toMatchObject({
      ...{ key: 'k', source: 'recovery', deadline },
    });
  });

  it('are handed over, though the leader of that time never heard of them and thought that it watched', async () => {
    const { keys } = await writer(url());
    const before = await instance();
    await before.close();
    const { deadline } = await keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');
    await server.redis.set('rx:{presence}:watched', deadline.getTime() + 1);

    const { events } = await instance();

    expect(await events.one()).toMatchObject({
      ...{ key: 'k', source: 'recovery', deadline },
    });
  });

  it('are handed over on time where new keys are not announced', async () => {
    await server.setFlags('Kx');
    const { keys } = await writer(url());
    const { subscriber, events } = await instance({ notifications: 'off' });
    await subscriber.ready();

    const { deadline } = await keys.arm('k', { ttl: 50 });

    expect(await events.one()).toMatchObject({ key: 'k', deadline });
  });

  it('are handed over on time while an instance runs, by their deadline', async () => {
    const { keys } = await writer(url());
    const { events } = await instance();

    const { deadline } = await keys.arm('k', { ttl: 50 });

    expect(await events.one()).toMatchObject({
      ...{ key: 'k', source: 'notification', deadline },
    });
  });

  it('are handed over where the server announces nothing', async () => {
    const { keys } = await writer(url());
    const { events, subscriber } = await instance({ notifications: 'off' });
    await subscriber.ready();

    const { deadline } = await keys.arm('k', { ttl: 50 });

    expect(await events.one()).toMatchObject({ key: 'k', deadline });
  });

  it('do not expire once they were cancelled, whoever runs', async () => {
    const { keys } = await writer(url());
    // Longer than it takes an instance to start.
    const ttl = paced(2_500);
    await keys.arm('before', { ttl });
    expect(await keys.cancel('before')).toBe(true);
    await keys.arm('at start', { ttl });
    const first = await instance();
    expect(await keys.cancel('at start')).toBe(true);
    await keys.arm('running', { ttl });
    expect(await keys.cancel('running')).toBe(true);
    expect(await keys.cancel('running')).toBe(false);
    expect(await keys.cancel('never there')).toBe(false);
    const { deadline } = await keys.arm('gap', { ttl });
    await first.close();
    expect(await keys.cancel('gap')).toBe(true);
    await delay(deadline.getTime() + 10 - Date.now());

    const second = await instance();

    expect(await handedOver({ keys }, second)).toEqual([]);
    expect(first.events.all).toEqual([]);
  });

  it('are handed over where cancelling or renewing came too late', async () => {
    const { keys } = await writer(url());
    await keys.armMany([
      { key: 'cancelled', ttl: 1 },
      { key: 'renewed', ttl: 1 },
    ]);
    await isGone(server, 'cancelled');

    expect(await keys.cancel('cancelled')).toBe(false);
    expect(await keys.renew('renewed', { ttl: 60_000, value: 'x' })).toBe(
      false,
    );
    expect(await server.redis.exists('cancelled', 'renewed')).toBe(0);
    const { events } = await instance();

    const keysOf = (await events.next(2)).map(({ key }) => key).toSorted();
    expect(keysOf).toEqual(['cancelled', 'renewed']);
  });

  it('run out when they were renewed to, with their value or another', async () => {
    const { keys } = await writer(url());
    const { events } = await instance();
    await keys.arm('kept', { ttl: 100, value: 'one' });
    await keys.arm('changed', { ttl: 100, value: 'one' });
    const before = Date.now();

    expect(await keys.renew('kept', { ttl: 400 })).toBe(true);
    expect(await keys.renew('changed', { ttl: 400, value: 'two' })).toBe(true);

    expect(await server.redis.mget('kept', 'changed')).toEqual(['one', 'two']);
    for (const { deadline } of await events.next(2))
      expect(deadline!.getTime()).toBeGreaterThanOrEqual(before + 400);
    expect(events.rest).toEqual([]);
  });

  it('do not swallow an expiry that nobody knew of, when they are armed anew', async () => {
    const { keys } = await writer(url());
    const first = await keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');

    const second = await keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');

    expect(second.created).toBe(true);
    const { events } = await instance();
    expect(
      (await events.next(2)).map(({ deadline }) => deadline!.getTime()),
    ).toEqual([first.deadline.getTime(), second.deadline.getTime()]);
    expect(events.rest).toEqual([]);
  });

  it('supersede an expiry, as any write does, where they live when its turn comes', async () => {
    const { keys } = await writer(url());
    await keys.arm('k', { ttl: 1 });
    await isGone(server, 'k');
    await keys.arm('k', { ttl: 60_000 });
    expect(await server.redis.xlen(EVENTS)).toBe(1);

    const { events, subscriber } = await instance();

    await eventually(() =>
      expect(subscriber.status().counters.superseded).toBe(1),
    );
    expect(events.all).toEqual([]);
  });

  it('are handed over once for each life, however quickly those follow', async () => {
    const { keys } = await writer(url());
    const { events } = await instance();
    const lives: number[] = [];

    for (let life = 0; life < 100; life++) {
      const { deadline } = await keys.arm('k', { ttl: 1 });
      lives.push(deadline.getTime());
      await isGone(server, 'k');
    }

    await eventually(() =>
      expect(events.all.at(-1)!.deadline?.getTime()).toBe(lives.at(-1)),
    );
    const { deadline: end } = await keys.arm('other', { ttl: 1 });
    await eventually(() => expect(events.all.at(-1)!.key).toBe('other'));
    // One that was armed anew before its turn was superseded, and none came twice, or with another id.
    const deadlines = events.all.map(({ deadline }) => deadline?.getTime());
    expect(deadlines.filter((d, i) => deadlines.indexOf(d) !== i)).toEqual([]);
    expect(new Set(deadlines).size).toBe(events.all.length);
    expect([...lives, end.getTime()]).toEqual(
      expect.arrayContaining(deadlines),
    );
  });

  it('written by others are known once they were enrolled', async () => {
    const { keys } = await writer(url());
    await server.redis.set('theirs', '1', 'PX', 60_000);
    await server.redis.set('lasting', '1');

    expect(await keys.enrol(['theirs', 'lasting', 'none'])).toBe(1);

    expect(await server.redis.zrange(INDEX, '0', '-1')).toEqual(['theirs']);
    await server.redis.pexpire('theirs', 1);
    await isGone(server, 'theirs');
    // Its deadline is not the one that was noted: it counts when that has passed.
    expect(await keys.enrol([])).toBe(0);
  });

  it('may be many at once, each answered in its place', async () => {
    const { keys } = await writer(url());
    await keys.arm('k:7', { ttl: 60_000 });
    const entries = Array.from({ length: 1_234 }, (_, i) => ({
      key: `k:${i}`,
      ttl: 100_000 + i,
      value: `${i}`,
      ...(i % 2 && { group: 'other' }),
    }));

    const armed = await keys.armMany(entries);

    expect(armed.filter(({ created }) => !created)).toEqual([armed[7]]);
    const values = await server.redis.mget(entries.map(({ key }) => key));
    expect(values).toEqual(entries.map(({ value }) => value));
    const score = await server.redis.zscore('rx:{other}:index', 'k:1233');
    expect(armed[1_233]!.deadline.getTime()).toBe(Number(score));
    expect(await server.redis.zcard(INDEX)).toBe(618);
  });

  it('are named without the keyPrefix, in the database of the connection', async () => {
    const connection = { port: server.port, keyPrefix: 'app:', db: 3 };
    const { keys } = await writer({ connection, namespace: 'own' });
    await keys.arm('k', { ttl: 60_000 });

    await server.redis.select(3);
    const names = (await server.redis.keys('*')).toSorted();
    await server.redis.select(0);

    expect(names).toEqual(['app:k', 'app:own:{presence}:index']);
    const { events } = await instance({ connection, namespace: 'own' });
    expect(await keys.renew('k', { ttl: 20 })).toBe(true);
    expect(await events.one()).toMatchObject({ key: 'k', database: 3 });
  });

  it('may be armed by a handler, also while the module shuts down', async () => {
    let arming: Promise<unknown> | undefined;
    const began = collect<string>();
    const app = await groupApp(server, [
      handler('first', async ({ key }) => {
        began.add(key);
        await closing;
        arming = app.app.get(RedisExpiryKeys).arm('second', { ttl: 60_000 });
        await arming;
      }),
    ]);
    let close!: () => void;
    const closing = new Promise<void>((resolve) => (close = resolve));
    await app.app.get(RedisExpiryKeys).arm('first', { ttl: 10 });
    await began.one();
    const closed = app.close();
    close();
    await closed;

    await expect(arming).resolves.toMatchObject({ created: true });
    await expect(
      app.app.get(RedisExpiryKeys).arm('third', { ttl: 1 }),
    ).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('need one connection in a process that runs no handlers, which a function may describe', async () => {
    let asked = 0;
    const { keys, subscriber } = await writer({
      connection: () => {
        asked++;
        return server.url;
      },
    });
    expect(asked).toBe(0);

    await Promise.all([
      keys.arm('k', { ttl: 60_000 }),
      keys.arm('l', { ttl: 60_000 }),
    ]);

    expect(await server.connections()).toHaveLength(1);
    expect(asked).toBe(1);
    expect(subscriber.status()).toMatchObject({ nodes: [], groups: [] });
  });
});
