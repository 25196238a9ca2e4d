import { type OnApplicationBootstrap, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import type { TestApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import {
  groupApp,
  groupIsDone,
  groupState,
  handler,
} from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { type TestServer, useServer } from '../../support/servers.js';

const nothing = () => undefined;
/** Ms after which a handler that is not there will not come by itself, by what a group goes by. */
const SETTLED = 3_100;

/** Scripts that ran since the last reset. */
const scripts = async (server: TestServer): Promise<number> =>
  (await server.commandCalls())['evalsha'] ?? 0;
const passes = ({ subscriber }: TestApp): number =>
  subscriber.status().counters.passedOn;
const handled = (apps: readonly TestApp[]): number =>
  apps.reduce(
    (sum, { subscriber }) => sum + subscriber.status().counters.handled,
    0,
  );
/** What the dead letters say. */
const errors = async ({ subscriber }: TestApp): Promise<string[]> =>
  (await subscriber.deadLetters('presence', { count: 1_000 })).map(
    ({ error }) => error,
  );
const watches = ({ subscriber }: TestApp): readonly string[] =>
  subscriber.status().groups[0]!.nodes.flatMap(({ patterns }) => patterns);

describe('a pattern that nobody handles any more', () => {
  const server = useServer();
  const kept = () => groupApp(server, [handler('a:*', nothing)]);
  /** Sets keys of the pattern, and waits until the group knows them. */
  const set = async (count: number, ms: number) => {
    const pipeline = server.redis.pipeline();
    for (const key of names('b:', count)) pipeline.set(key, '1', 'PX', ms);
    await pipeline.exec();
    await eventually(async () =>
      expect((await groupState(server))['index']).toBe(count),
    );
  };

  it.for<[string, () => Promise<TestApp[]>]>([
    ['that leads', async () => [await kept()]],
    ['that follows', async () => [await kept(), await kept()]],
  ])(
    'costs a command for each expiry, once an instance %s unsubscribed it',
    async ([, start]) => {
      const apps = await start();
      const { subscriber } = apps.at(-1)!;
      const subscription = await subscriber.subscribe('b:*', nothing);
      await set(300, SETTLED);
      await subscription.unsubscribe();
      await eventually(() => expect(watches(apps[0]!)).toEqual(['a:*']));
      await server.redis.config('RESETSTAT');
      const began = performance.now();
      await eventually(async () => {
        const { index, events, retry } = await groupState(server);
        expect({ index, events, retry }).toEqual({ events: 0 });
      });

      // Each is given up by one script; all else is what instances do anyway, and what they ask for.
      const seconds = (performance.now() - began) / 1_000;
      expect(await scripts(server)).toBeLessThan(350 + 50 * seconds);
      for (const error of await errors(apps[0]!))
        expect(error).toBe('no instance has a handler for it');
      // Nest has one logger for both.
      const told = apps.at(-1)!.logs.texts('warn', 'became a dead letter');
      expect(told.length).toBeLessThanOrEqual(apps.length);
      // A key that is set now is nothing to the group.
      const before = (await groupState(server))['dead'];
      await server.redis.set('b:new', '1', 'PX', 300);
      await server.redis.set('a:new', '1', 'PX', 300);
      await eventually(() => expect(handled(apps)).toBe(1));
      expect((await groupState(server))['dead']).toBe(before);
    },
  );

  it('is given up where the instance that had it is not back soon', async () => {
    const app = await kept();
    const other = await groupApp(server, [handler('b:*', nothing)]);
    await set(50, SETTLED);
    await other.close();
    await eventually(() => expect(passes(app)).toBeGreaterThanOrEqual(50));
    // As if it had left 15 s ago.
    const entries = await server.redis.zrange(
      'rx:{presence}:instances',
      '0',
      '-1',
    );
    const left = entries.find((entry) => entry.startsWith('-'))!;
    const ago = Date.now() - 15_001;
    await server.redis.zadd('rx:{presence}:instances', ago, left);
    await eventually(async () =>
      expect(await groupState(server)).toMatchObject({ dead: 50, events: 0 }),
    );

    expect(await errors(app)).toEqual(
      Array.from({ length: 50 }, () => 'no instance has a handler for it'),
    );
    expect(other.logs.texts('warn', 'became a dead letter')).toHaveLength(1);
  });
});

describe('events that wait when an application starts', () => {
  const server = useServer();
  const append = async (...keys: string[]) => {
    for (const key of keys)
      await server.redis.xadd(
        ...(['rx:{presence}:events', '*'] as const),
        ...['k', key, 'd', '1000', 't', '1001', 's', 'notification'],
      );
  };

  it('wait for handlers that are subscribed when it has started', async () => {
    const late = collect<KeyExpiredEvent>();
    await append(...names('late:', 20));
    const app = await groupApp(server, [handler('a:*', nothing)]);
    await eventually(() => expect(passes(app)).toBeGreaterThan(20));
    await app.subscriber.subscribe('late:*', late.add);
    await late.next(20);
    await groupIsDone(server);

    expect(late.all).toHaveLength(20);
    expect(await groupState(server)).not.toHaveProperty('dead');
  });

  it('wait for its own handlers, however long it takes to start', async () => {
    const calls = collect<KeyExpiredEvent>();
    @Injectable()
    class Slow implements OnApplicationBootstrap {
      constructor(readonly subscriber: RedisExpirySubscriber) {}

      async onApplicationBootstrap() {
        await this.subscriber.subscribe('early:*', nothing);
        // Longer than a group waits for a handler once everything is there.
        await delay(SETTLED);
      }
    }
    Reflect.defineMetadata('design:paramtypes', [RedisExpirySubscriber], Slow);
    await append(...names('k:', 20));
    await groupApp(server, [Slow, handler('k:*', calls.add)]);
    await calls.next(20);
    await groupIsDone(server);

    expect(calls.all).toHaveLength(20);
    expect(await groupState(server)).not.toHaveProperty('dead');
  });
});
