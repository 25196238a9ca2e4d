import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiringEvent,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { live, now, over, warnedApp } from '../../support/expiring.js';
import { useServer } from '../../support/servers.js';

const MODES: { mode: string; options: RedisExpiryModuleOptions }[] = [
  { mode: 'in broadcast', options: {} },
  { mode: 'in a group', options: { group: 'g' } },
];

describe.each(MODES)('a warning $mode', ({ options }) => {
  const server = useServer();
  const isGroup = options.group !== undefined;

  it('comes once, when the time left falls to before, and names the deadline', async () => {
    const { redis } = server;
    const { warnings, subscriber } = await warnedApp(server, 300, options);

    const deadline = await live(redis, 's:1', 700);
    const event = await warnings.one();
    const heardAt = await now(redis);
    await over(redis, deadline);

    expect(event).toMatchObject({
      ...{ key: 's:1', captures: ['1'], pattern: 's:*', attempt: 1 },
      ...{ deadline: new Date(deadline), source: 'notification', database: 0 },
    });
    expect(event.remaining).toBe(300 - event.lateness);
    expect(event.remaining).toBeGreaterThan(0);
    expect(heardAt).toBeGreaterThanOrEqual(deadline - 300);
    expect(heardAt).toBeLessThan(deadline);
    expect(event.id).toBe(isGroup ? `s:1@${deadline}-300` : undefined);
    expect(event.group).toBe(options.group);
    expect(warnings.rest).toEqual([]);
    expect(subscriber.status().counters).toMatchObject({
      ...{ received: 1, handled: 1, superseded: 0 },
    });
  });

  it('does not come for a key that never has more left', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 500, options);

    for (let i = 0; i < 4; i++) {
      await redis.set('s:short', '1', 'PX', 450);
      await delay(50);
    }
    const deadline = await live(redis, 's:short', 450);
    await live(redis, 's:long', 900);
    await over(redis, deadline);
    await warnings.one();

    expect(warnings.all.map(({ key }) => key)).toEqual(['s:long']);
  });

  it('does not come for a key that is always renewed earlier', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 200, options);

    for (let i = 0; i < 20; i++) {
      await redis.set('s:1', '1', 'PX', 700);
      await delay(100);
    }
    await redis.del('s:1');
    const deadline = await live(redis, 's:2', 400);
    await over(redis, deadline);

    expect(warnings.all.map(({ key }) => key)).toEqual(['s:2']);
  });

  it('comes again for a key that was renewed after it, and left', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 400, options);

    await live(redis, 's:1', 600);
    await warnings.one();
    const second = await live(redis, 's:1', 900);
    const event = await warnings.one();
    await over(redis, second);

    expect(event.deadline).toEqual(new Date(second));
    expect(warnings.all).toHaveLength(2);
  });

  it('comes again where a renewal leaves the key with little more than before', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 1_000, options);

    await live(redis, 's:1', 1_300);
    await warnings.one();
    const second = await live(redis, 's:1', 1_150);
    const event = await warnings.one();
    await over(redis, second);

    expect(event.deadline).toEqual(new Date(second));
    expect(event.lateness).toBeLessThan(1_000);
    expect(warnings.all).toHaveLength(2);
  });

  it('does not come again for a renewal that leaves less than before', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 1_000, options);

    await live(redis, 's:1', 1_200);
    await warnings.one();
    const second = await live(redis, 's:1', 850);
    await over(redis, second);

    expect(warnings.all).toHaveLength(1);
  });

  it('comes for keys that were there before, and have more left', async () => {
    const { redis } = server;
    const long = await live(redis, 's:long', 2_000);
    await live(redis, 's:short', 400);
    const { warnings } = await warnedApp(server, 500, options);

    await over(redis, long);

    expect(warnings.all.map(({ key }) => key)).toEqual(['s:long']);
  });

  it('does not come for a key that was deleted', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 200, options);

    await live(redis, 's:1', 500);
    await delay(50);
    await redis.del('s:1');
    const deadline = await live(redis, 's:2', 700);
    await over(redis, deadline);

    expect(warnings.all.map(({ key }) => key)).toEqual(['s:2']);
  });

  it('is superseded where the key is renewed, or gone, before its turn comes', async () => {
    const { redis } = server;
    const { warnings, subscriber } = await warnedApp(
      server,
      500,
      { ...options, concurrency: 1 },
      ({ key }) => (key === 's:slow' ? delay(450) : undefined),
    );

    await live(redis, 's:slow', 600);
    await live(redis, 's:renewed', 700);
    await live(redis, 's:gone', 700);
    await live(redis, 's:left', 800);
    await warnings.one();
    // In a group they wait in the stream.
    await eventually(async () =>
      expect(
        isGroup
          ? await redis.xlen('rx:{g}:events')
          : subscriber.status().counters.received,
      ).toBe(4),
    );
    await redis.set('s:renewed', '1', 'PX', 60_000);
    await redis.del('s:gone');
    await warnings.one();
    await eventually(() =>
      expect(subscriber.status().counters).toMatchObject({
        ...{ handled: 2, superseded: 2 },
      }),
    );

    expect(warnings.all.map(({ key }) => key)).toEqual(['s:slow', 's:left']);
  });

  it('comes for each before that is asked for, beside the expiry', async () => {
    const { redis } = server;
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, ...options }),
      ],
    });
    const told = collect<string>();
    const tell =
      (what: string) =>
      ({ key }: { key: string }): void =>
        told.add(`${what} ${key}`);
    await subscriber.subscribe('s:*', tell('expired'));
    await subscriber.subscribeExpiring('s:*', { before: 600 }, tell('600'));
    const second = await subscriber.subscribeExpiring(
      ...(['s:*', { before: 300 }, tell('300')] as const),
    );

    await live(redis, 's:1', 900);
    expect(await told.next(3)).toEqual([
      ...['600 s:1', '300 s:1', 'expired s:1'],
    ]);

    await second.unsubscribe();
    await live(redis, 's:2', 900);
    expect(await told.next(2)).toEqual(['600 s:2', 'expired s:2']);
    expect(told.rest).toEqual([]);
  });

  it('comes for keys that lived when it was asked for, though the pattern was listened to before', async () => {
    const { redis } = server;
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, ...options }),
      ],
    });
    await subscriber.subscribe('s:*', () => undefined);
    const deadline = await live(redis, 's:1', 2_500);
    const warnings = collect<KeyExpiringEvent>();
    await subscriber.subscribeExpiring('s:*', { before: 1_000 }, warnings.add);

    expect((await warnings.one()).deadline).toEqual(new Date(deadline));
  });

  it('comes soon where the time left is shortened, and that is heard', async () => {
    const { redis } = server;
    await redis.config('SET', 'notify-keyspace-events', 'KEA');
    const { warnings } = await warnedApp(server, 1_000, options);

    await live(redis, 's:1', 60_000);
    await delay(100);
    const deadline = await live(redis, 's:1', 600);
    const event = await warnings.one();

    expect(event.deadline).toEqual(new Date(deadline));
    expect(await now(redis)).toBeLessThan(deadline);
  });

  it('is not given for a new life of a key that never has more left', async () => {
    const { redis } = server;
    const { warnings } = await warnedApp(server, 500, options);

    await live(redis, 's:1', 60_000);
    await delay(100);
    await redis.del('s:1');
    const deadline = await live(redis, 's:1', 400);
    await over(redis, deadline);

    expect(warnings.all).toEqual([]);
  });
});
