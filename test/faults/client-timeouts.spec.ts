import { setTimeout as delay } from 'node:timers/promises';
import type { RedisOptions } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../lib/index.js';
import { createApp, recording } from '../support/app.js';
import { collect } from '../support/collect.js';
import { useServer } from '../support/servers.js';

const server = useServer();

const GROUP = { group: 'presence', leaseDuration: 60_000 };
const ALL = { commandTimeout: 300, socketTimeout: 400, blockingTimeout: 100 };

/** Each is shorter than what a connection of the module waits on purpose. */
const OPTIONS: [
  what: string,
  options: RedisOptions,
  mode: string,
  module: object,
][] = [
  ['commandTimeout', { commandTimeout: 300 }, 'a group', GROUP],
  ['socketTimeout', { socketTimeout: 400 }, 'a group', GROUP],
  // A read that blocks would be given up after 100 ms, of the 2,000 that Redis lets it wait.
  [
    'blockingTimeout',
    { blockingTimeout: 100, blockingTimeoutGrace: 100 - 2_000 },
    'a group',
    GROUP,
  ],
  ['all of them', ALL, 'a group', GROUP],
  ['all of them', ALL, 'broadcast', {}],
];

describe('timeouts in the options of the user', () => {
  it.each(OPTIONS)('apply to no connection: %s %j, %s', async (...row) => {
    const [, options, , module] = row;
    const events = collect<KeyExpiredEvent>();
    const { host, port, redis } = server;
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { host, port, ...options },
          ...module,
        }),
      ],
      providers: [recording(events, 'k*')],
    });
    await subscriber.ready();
    const made = async (): Promise<string> =>
      /total_connections_received:\d+/.exec(await redis.info('stats'))![0];
    const before = await made();

    for (let i = 0; i < 4; i++) {
      await delay(500);
      await redis.set(`k${i}`, '', 'PX', 20);
      const event = await events.one();
      expect(event).toMatchObject({ key: `k${i}`, attempt: 1 });
    }

    expect(await made()).toBe(before);
    expect(events.rest).toEqual([]);
    expect(subscriber.status().counters).toMatchObject({
      handled: 4,
      retried: 0,
      deadLettered: 0,
    });
  });
});
