import { setTimeout as delay } from 'node:timers/promises';
import { Test } from '@nestjs/testing';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  RedisExpiryKeys,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import { ExpiryTester } from '../../../lib/testing/index.js';
import { createApp } from '../../support/app.js';
import { eventually } from '../../support/eventually.js';
import { paced } from '../../support/paced.js';
import { LogBook } from '../../support/logs.js';
import { connect, useServer } from '../../support/servers.js';
import {
  SCENARIOS,
  type Scenario,
  type Seen,
  type Stage,
} from './scenarios.js';

/** What a scenario showed: each try, in an order that does not depend on who came first; and what else it returned. */
interface Shown {
  readonly seen: readonly Seen[];
  readonly returned: unknown;
}

class Witness {
  readonly seen: Seen[] = [];
  /** For each call of `expire`, how many tries there had been when it had done its work. */
  readonly triesAfter: number[] = [];
  #calls = 0;

  /** The number of one more call of `expire`. */
  nextCall(): number {
    return this.#calls++;
  }

  readonly see = (handler: string, event: KeyExpiredEvent): void => {
    const { key, attempt, captures, group, id, database } = event;
    const { value, valueText } = event;
    this.seen.push({
      ...{ handler, key, attempt, captures, group, database },
      ...{ value, valueText },
      // A server may be faster than the module: then the deadline is not known, and in the id is the time of detection.
      hasId: id?.startsWith(`${key}@`) === true,
    });
  };

  shown(returned: unknown): Shown {
    const order = ({ handler, key, attempt }: Seen): string =>
      `${handler} ${key} ${attempt}`;
    const seen = this.seen.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
    return { seen, returned };
  }
}

async function onKit(scenario: Scenario, witness: Witness): Promise<Shown> {
  const expiry = new ExpiryTester();
  const { connection, ...options } = scenario.options ?? {};
  const moduleRef = await expiry
    .install(
      Test.createTestingModule({
        imports: [
          // Nobody listens there, and nobody asks.
          RedisExpiryModule.forRoot({
            connection: {
              host: '127.0.0.1',
              port: 1,
              ...(connection as object),
            },
            ...options,
          }),
        ],
        providers: scenario.providers(witness.see),
      }).setLogger(new LogBook()),
    )
    .compile();
  await moduleRef.init();
  const stage: Stage = {
    subscriber: moduleRef.get(RedisExpirySubscriber),
    keys: moduleRef.get(RedisExpiryKeys),
    expire: async (...keys) => {
      const call = witness.nextCall();
      await Promise.all(keys.map((key) => expiry.expire(key, { retry: true })));
      witness.triesAfter[call] = witness.seen.length;
    },
    expireWith: async (_, ...keys) => {
      // Half of them as keys that were set.
      const [set, given] = [keys.slice(1), keys.slice(0, 1)];
      for (const { key, ...held } of set) expiry.set(key, { ttl: 20, ...held });
      await expiry.advance(21);
      for (const { key, ...held } of given)
        await expiry.expire(key, { retry: true, ...held });
    },
    write: (key) => Promise.resolve(expiry.set(key)),
    set: (key, ttl) => Promise.resolve(expiry.set(key, { ttl })),
    delete: (key) => Promise.resolve(void expiry.delete(key)),
    lapse: async (...keys) => {
      for (const key of keys) expiry.set(key, { ttl: 20 });
      await expiry.advance(21);
    },
    bringBack: (...keys) =>
      Promise.resolve(keys.forEach((key) => expiry.set(key))),
    pass: async (ms) => void (await expiry.advance(ms)),
  };
  const returned = await scenario.act(stage);
  await moduleRef.close();
  return witness.shown(returned);
}

describe('the test kit', () => {
  const server = useServer();

  async function onServer(scenario: Scenario, kit: Witness): Promise<Shown> {
    const witness = new Witness();
    const { connection, ...options } = scenario.options ?? {};
    const given = (connection ?? {}) as { keyPrefix?: string; db?: number };
    const { subscriber, app } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          connection: { host: '127.0.0.1', port: server.port, ...given },
          shutdownTimeout: 3_000,
          ...options,
        }),
      ],
      providers: scenario.providers(witness.see),
    });
    const client = await connect(server, given);
    /** Everything that was begun has ended, as far as it is not to be tried again later. */
    const isQuiet = (): void => {
      const { queued, running } = subscriber.status();
      expect(queued + running).toBe(0);
    };
    const stage: Stage = {
      subscriber,
      keys: app.get(RedisExpiryKeys),
      expire: async (...keys) => {
        const call = witness.nextCall();
        const { received } = subscriber.status().counters;
        const matching = keys.length;
        await Promise.all(keys.map((key) => client.set(key, '1', 'PX', 20)));
        await eventually(() => {
          expect(subscriber.status().counters.received).toBeGreaterThanOrEqual(
            received + matching,
          );
          // A group and broadcast hear of a key one after the other.
          expect(witness.seen.length).toBeGreaterThanOrEqual(
            kit.triesAfter[call]!,
          );
          isQuiet();
        });
      },
      expireWith: async (handlers, ...keys) => {
        const { received } = subscriber.status().counters;
        const deadline = Date.now() + paced(1_000);
        for (const { key, value, hash } of keys)
          await (hash
            ? client.multi().hset(key, hash).pexpireat(key, deadline).exec()
            : client.set(key, value!, 'PXAT', deadline));
        await eventually(() => {
          expect(subscriber.status().counters.received).toBeGreaterThanOrEqual(
            received + handlers * keys.length,
          );
          isQuiet();
        });
      },
      write: async (key) => void (await client.set(key, 'again')),
      set: async (key, ttl) => void (await client.set(key, '1', 'PX', ttl)),
      delete: async (key) => void (await client.del(key)),
      lapse: async (...keys) => {
        const told = () =>
          witness.seen.filter(({ handler }) => handler === 'Hasty').length;
        const expected = told() + keys.length;
        await Promise.all(keys.map((key) => client.set(key, '1', 'PX', 60)));
        await eventually(() => expect(told()).toBe(expected));
      },
      bringBack: async (...keys) => {
        await Promise.all(keys.map((key) => client.set(key, 'again')));
      },
      pass: async (ms, until) => {
        await delay(until ? 0 : ms);
        await eventually(async () => {
          isQuiet();
          expect(await (until?.() ?? true)).toBe(true);
        });
      },
    };
    return witness.shown(await scenario.act(stage));
  }

  it.each(SCENARIOS)('does what a server does: $name', async (scenario) => {
    const witness = new Witness();
    const kit = await onKit(scenario, witness);
    const real = await onServer(scenario, witness);

    expect(kit).toEqual(real);
    expect(kit.seen.length).toBeGreaterThan(0);
  });
});
