import { describe, expect, it, onTestFinished } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../lib/index.js';
import { createApp, recording } from '../support/app.js';
import { collect } from '../support/collect.js';
import { eventually } from '../support/eventually.js';
import { TestServer } from '../support/servers.js';

type Strategy = (attempt: number) => unknown;

const strategies: [what: string, strategy: Strategy][] = [
  [
    'throws',
    () => {
      throw new Error('in retryStrategy');
    },
  ],
  ['returns null', () => null],
  ['returns undefined', () => undefined],
  ['returns NaN', () => Number.NaN],
  ['returns a negative number', () => -5],
  ['returns an infinite number', () => -Infinity],
  ['returns a promise', () => Promise.resolve(5)],
];

describe.each([
  ['a group', { group: 'presence' }],
  ['broadcast', {}],
])('%s, with a retryStrategy that', (_, options) => {
  it.for(strategies)(
    '%s, reconnects when its server comes back',
    { timeout: 180_000 },
    async ([, strategy]) => {
      const server = await new TestServer().start();
      onTestFinished(() => server.stop());
      const asked = { times: 0 };
      const events = collect<KeyExpiredEvent>();
      const { subscriber } = await createApp({
        imports: [
          RedisExpiryModule.forRoot({
            ...options,
            connection: {
              ...{ host: server.host, port: server.port },
              retryStrategy: (attempt) => {
                asked.times++;
                return strategy(attempt) as null;
              },
            },
          }),
        ],
        providers: [recording(events, 'k*')],
      });
      const nodes = () => {
        const { nodes: own, groups } = subscriber.status();
        return groups[0]?.nodes ?? own;
      };
      await server.process.kill();
      await eventually(() =>
        expect(nodes()).not.toMatchObject([{ state: 'listening' }]),
      );
      // It goes on, at the pace of the default: some times a second for each of its connections.
      const before = asked.times;
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const tries = asked.times - before;
      expect(tries).toBeGreaterThanOrEqual(2);
      expect(tries).toBeLessThan(60);
      await server.process.restart();
      // All was lost with the server: a group has to find its lease again, too.
      await eventually(async () => {
        await server.expire('k');
        expect(events.all.at(-1)?.key).toBe('k');
      });
      await eventually(() =>
        expect(nodes()).toMatchObject([{ state: 'listening' }]),
      );
    },
  );
});
