import { Injectable, Module } from '@nestjs/common';
import { LazyModuleLoader } from '@nestjs/core';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
} from '../../lib/index.js';
import {
  type TestOptions,
  createApp,
  expectNoConnections,
  plain,
  redisExpiry,
} from '../support/app.js';
import { type Collector, collect } from '../support/collect.js';
import { useServer } from '../support/servers.js';

const server = useServer();

/** An address at which nothing answers. */
const NOWHERE = 'redis://127.0.0.1:1';

const EMPTY = {
  nodes: [],
  groups: [],
  counters: {
    received: 0,
    handled: 0,
    failed: 0,
    retried: 0,
    deadLettered: 0,
    superseded: 0,
    recovered: 0,
    dropped: 0,
  },
  queued: 0,
  running: 0,
  longRunning: [],
};

@Injectable()
class Devices {
  static ran: Collector<string> = collect();

  @OnKeyExpired('device:*')
  @OnKeyExpired('sensor:*')
  onOffline({ key }: KeyExpiredEvent): void {
    Devices.ran.add(key);
  }

  @OnKeyExpired('session:*', { group: 'mailers' })
  onEnd({ key }: KeyExpiredEvent): void {
    Devices.ran.add(key);
  }
}

const TOLD =
  'Handlers that do not run in this process (enabled: false): Devices.onOffline, Devices.onEnd';

/** Both ways to give options. */
const WAYS: [way: string, make: (options: TestOptions) => unknown][] = [
  ['forRoot', (options) => RedisExpiryModule.forRoot(options)],
  [
    'forRootAsync',
    (options) =>
      RedisExpiryModule.forRootAsync({
        useFactory: () => Promise.resolve(options),
      }),
  ],
];

describe('enabled: false', () => {
  it.each(WAYS)(
    'runs no handler and connects to nothing, by %s',
    async (_, make) => {
      const options = { connection: NOWHERE, enabled: false, group: 'devices' };
      const { subscriber, logs } = await createApp({
        imports: [make(options) as never],
        providers: [Devices],
      });

      await subscriber.ready();

      expect(subscriber.status()).toMatchObject(EMPTY);
      expect(logs.texts('log', 'Handlers that')).toEqual([TOLD]);
      expect(logs.texts('log', 'Mapped {')).toEqual([]);
    },
  );

  it.each<[mode: string, options: TestOptions]>([
    ['in broadcast', {}],
    ['in a group', { group: 'devices', punctual: true }],
  ])('leaves it to what is subscribed to by hand: %s', async (_, options) => {
    const { subscriber } = await createApp({
      imports: [redisExpiry(server, { ...options, enabled: false })],
      providers: [Devices],
    });
    await expectNoConnections([server]);
    Devices.ran = collect();
    const events = collect<KeyExpiredEvent>();

    const subscription = await subscriber.subscribe('device:*', events.add);
    await subscriber.ready();
    await server.expire('device:42');

    expect((await events.one()).key).toBe('device:42');
    const { nodes, groups, counters } = subscriber.status();
    expect((groups[0]?.nodes ?? nodes).map(({ state }) => state)).toEqual([
      'listening',
    ]);
    expect(counters).toMatchObject({ received: 1, handled: 1 });
    expect(Devices.ran.all).toEqual([]);
    await subscription.unsubscribe();
  });

  it('says of a subscription by hand that Redis is not there', async () => {
    const { subscriber } = await createApp({
      imports: [
        redisExpiry(server, {
          connection: { port: 1, connectTimeout: 300 },
          enabled: false,
        }),
      ],
    });

    await expect(
      subscriber.subscribe('device:*', () => undefined),
    ).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    await expect(subscriber.ready()).resolves.toBeUndefined();
    expect(subscriber.status()).toMatchObject(EMPTY);
  });

  it('holds for modules that are loaded lazily', async () => {
    @Module({ providers: [Devices] })
    class LazyModule {}
    const { app, logs } = await createApp({
      imports: [RedisExpiryModule.forRoot(plain({ enabled: false }))],
    });
    expect(logs.texts('log', 'Handlers that')).toEqual([]);

    await app.get(LazyModuleLoader).load(() => LazyModule);

    expect(logs.texts('log', 'Handlers that')).toEqual([TOLD]);
  });

  it('is refused where it is no boolean', async () => {
    await expect(
      createApp({ imports: [redisExpiry(server, { enabled: 'no' as never })] }),
    ).rejects.toMatchObject({
      code: 'INVALID_OPTION_ENABLED',
      message: 'Option "enabled" is "no"; accepted: true or false.',
    });
  });
});
