import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommandClient } from '../../../lib/connection/command-client.js';
import { NodeDeadlines } from '../../../lib/deadlines/node-deadlines.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import type { ExpiryTiming } from '../../../lib/listening/deadline-keeper.js';
import { eventually } from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';

const everything = { text: '*', redisGlob: new RedisGlob('*') };

/** Ms that the way from Redis takes here. The way there takes no time. */
const WAY_BACK = 300;

/** A server whose clock is the local one, and whose answers are slow. */
class SlowRedis {
  readonly deadlines = new Map<string, number>();
  looks = 0;

  call = (
    _command: string,
    _script: string,
    _count: number,
    ...keys: Buffer[]
  ): Promise<number[]> => {
    this.looks++;
    const now = Date.now();
    return this.#answer([
      now,
      ...keys.map((key) => {
        const deadline = this.deadlines.get(key.toString());
        return deadline !== undefined && deadline >= now ? deadline - now : -2;
      }),
    ]);
  };

  callBuffer = (): Promise<[Buffer, number]> =>
    this.#answer([Buffer.from('0'), Date.now()]);

  time = (): Promise<[string, string]> => {
    const now = Date.now();
    return this.#answer([
      String(Math.floor(now / 1_000)),
      String((now % 1_000) * 1_000),
    ]);
  };

  async #answer<T>(answer: T): Promise<T> {
    await delay(WAY_BACK);
    return answer;
  }
}

describe('NodeDeadlines, far from Redis,', () => {
  let redis: SlowRedis;
  let deadlines: NodeDeadlines;

  beforeEach(async () => {
    redis = new SlowRedis();
    const commands = {
      run: <T>(work: (client: SlowRedis) => Promise<T>): Promise<T> =>
        work(redis),
      runNow: <T>(work: (client: SlowRedis) => Promise<T>): Promise<T> =>
        work(redis),
    };
    deadlines = new NodeDeadlines(
      { commands: commands as unknown as CommandClient, noticedAfter: 3_000 },
      false,
      { wanted: () => [everything], matches: () => true },
      { scanInterval: 600_000, scanCount: 1_000 },
      new LogBook(),
    );
    deadlines.listening(true, new Set(['*']));
    await deadlines.ready();
  });
  afterEach(() => deadlines.close());

  it('knows the deadline of a key that Redis, or another instance, announces at once', async () => {
    const key = Buffer.from('k');
    const due = Date.now() + 1_000;
    redis.deadlines.set('k', due);
    deadlines.hint('new', key);
    await eventually(() => expect(deadlines.status.tracked).toBe(1));
    // Announced before its answers could tell this process that it is that late.
    await delay(due + 3 - Date.now());

    const timing = deadlines.expired(key) as ExpiryTiming;
    expect(timing).toMatchObject({ deadline: new Date(due) });
    expect(timing.lateness).toBeGreaterThanOrEqual(0);
    expect(timing.lateness).toBeLessThan(1_000);
    expect(deadlines.status.tracked).toBe(0);
  });

  it('claims no deadline for a key that was announced long before it was due', async () => {
    const key = Buffer.from('k');
    redis.deadlines.set('k', Date.now() + 60_000);
    deadlines.hint('new', key);
    await eventually(() => expect(deadlines.status.tracked).toBe(1));

    // Another client has shortened it.
    expect(deadlines.expired(key)).toBeUndefined();
    expect(deadlines.status.tracked).toBe(0);
  });

  it('tells a repeat of another server from the expiry of a key that is known to live, or was created', async () => {
    const [told, known, created] = ['told', 'known', 'created'].map((name) =>
      Buffer.from(name),
    ) as [Buffer, Buffer, Buffer];
    for (const key of [told, known, created]) deadlines.expired(key);
    deadlines.lost();
    deadlines.replaced();
    deadlines.listening(true, new Set(['*']));
    // It will run out before that, for another client shortens it.
    redis.deadlines.set('known', Date.now() + 60_000);
    deadlines.changed(known);
    await eventually(() => expect(deadlines.status.tracked).toBe(1));
    deadlines.hint('new', created);
    // As tracking does, for the expiry itself.
    deadlines.changed(told);

    expect(deadlines.expired(told)).toBe('repeat');
    expect(deadlines.expired(known)).toBeUndefined();
    expect(deadlines.expired(created)).toBeUndefined();
  });

  it('touches a key no sooner than it is due, and about as soon', async () => {
    const due = Date.now() + 1_000;
    redis.deadlines.set('k', due);
    deadlines.hint('new', Buffer.from('k'));
    await eventually(() => expect(deadlines.status.tracked).toBe(1));
    const looks = redis.looks;
    await eventually(() => expect(deadlines.status.tracked).toBe(0));

    const late = Date.now() - WAY_BACK - due;
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(WAY_BACK + 1_000);
    // Too soon by the uncertainty of the clock is one look more, or a few.
    expect(redis.looks - looks).toBeLessThan(5);
  });
});
