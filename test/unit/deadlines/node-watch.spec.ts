import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommandClient } from '../../../lib/connection/command-client.js';
import { AnnouncementJudge } from '../../../lib/deadlines/announcement-judge.js';
import type { DeadlineEntry } from '../../../lib/deadlines/deadline-index.js';
import type { DeadlineJudge } from '../../../lib/deadlines/deadline-judge.js';
import { NodeWatch } from '../../../lib/deadlines/node-watch.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import { WantedValues } from '../../../lib/listening/wanted-values.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import type { ExpiryTiming } from '../../../lib/listening/deadline-keeper.js';
import {
  type Deferred,
  deferred,
  eventually,
  turns,
} from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';
import { paced } from '../../support/paced.js';

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

describe('NodeWatch of broadcast, far from Redis,', () => {
  let redis: SlowRedis;
  let deadlines: NodeWatch;

  beforeEach(async () => {
    redis = new SlowRedis();
    const commands = {
      run: <T>(work: (client: SlowRedis) => Promise<T>): Promise<T> =>
        work(redis),
      runNow: <T>(work: (client: SlowRedis) => Promise<T>): Promise<T> =>
        work(redis),
    };
    deadlines = new AnnouncementJudge(
      {
        commands: commands as unknown as CommandClient,
        inCluster: false,
        noticedAfter: 3_000,
      },
      {
        patterns: {
          wanted: () => [everything],
          matches: () => true,
          expires: () => true,
          warns: () => false,
          warnings: {
            befores: new Set(),
            deliver: () => undefined,
            valuesFor: () => new WantedValues(),
          },
          values: new WantedValues(),
        },
        punctual: { scanInterval: 600_000, scanCount: 1_000 },
        log: new LogBook(),
        counters: newCounters(),
        values: { lead: 20, maxBytes: 4_096 },
      },
    ).watch;
    deadlines.listening(true, new Set(['*']));
    await deadlines.ready();
  });
  afterEach(() => deadlines.close());

  it('knows the deadline of a key that Redis, or another instance, announces at once', async () => {
    const key = Buffer.from('k');
    const due = Date.now() + paced(1_000);
    redis.deadlines.set('k', due);
    deadlines.hint('new', key);
    await eventually(() => expect(deadlines.status.tracked).toBe(1));
    // Announced before its answers could tell this process that it is that late.
    await delay(due + 3 - Date.now());

    const timing = deadlines.expired(key) as ExpiryTiming;
    expect(timing).toMatchObject({ deadline: new Date(due) });
    expect(timing.lateness).toBeGreaterThanOrEqual(0);
    expect(timing.lateness).toBeLessThan(paced(1_000));
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
    deadlines.lost(0);
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
    const due = Date.now() + paced(1_000);
    redis.deadlines.set('k', due);
    deadlines.hint('new', Buffer.from('k'));
    await eventually(() => expect(deadlines.status.tracked).toBe(1));
    const looks = redis.looks;
    await eventually(() => expect(deadlines.status.tracked).toBe(0));

    const late = Date.now() - WAY_BACK - due;
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(WAY_BACK + paced(1_000));
    // Too soon by the uncertainty of the clock is one look more, or a few.
    expect(redis.looks - looks).toBeLessThan(5);
  });
});

/** A judge that notes what it is told, and looks at nothing. */
class NotingJudge implements DeadlineJudge {
  readonly told: string[] = [];
  readonly tracked = undefined;
  readonly looked: string[] = [];
  watch!: NodeWatch;
  due: DeadlineEntry[] = [];

  constructor(readonly looksInSilence: boolean) {}

  readonly index: DeadlineJudge['index'] = {
    enrol: () => Promise.resolve(),
    peek: () => Promise.resolve({ due: this.due, next: undefined }),
  };
  look = (due: readonly DeadlineEntry[]): Promise<void> => {
    expect(this.watch.isWatching).toBe(true);
    this.looked.push(...due.map(({ key }) => key.toString()));
    this.due = [];
    return Promise.resolve();
  };
  announced = () => undefined;
  heard = (event: string, key: Buffer) =>
    void this.told.push(`${event} ${key.toString()}`);
  written = () => true;
  began = (state: string) => void this.told.push(`began ${state}`);
  suspended = (ago: number) =>
    void this.told.push(
      `suspended ${ago}${this.watch.isWatching ? '' : ', before it began'}`,
    );
}

describe('NodeWatch', () => {
  let judge: NotingJudge;
  let watch: NodeWatch;
  /** Answers to TIME that fail. */
  let failures: number;
  let gate: Deferred | undefined;
  let asked: number;

  function watchFor(looksInSilence: boolean): void {
    [failures, gate, asked] = [0, undefined, 0];
    const redis = {
      time: async () => {
        asked++;
        await gate?.promise;
        if (failures-- > 0) throw new Error('Redis is away');
        return [String(Date.now() / 1_000), '0'];
      },
    };
    const run = <T>(work: (client: typeof redis) => Promise<T>): Promise<T> =>
      work(redis);
    judge = new NotingJudge(looksInSilence);
    watch = new NodeWatch(judge, {
      inCluster: false,
      commands: { run, runNow: run } as unknown as CommandClient,
      patterns: { wanted: () => [], matches: () => true },
      punctual: { scanInterval: 600_000, scanCount: 1_000 },
      log: new LogBook(),
    });
    judge.watch = watch;
    judge.due = [{ key: Buffer.from('k'), at: 1 }];
  }
  afterEach(() => watch.close());
  const served = new Set<string>();

  it('begins when the time is known, however often that fails, and then looks', async () => {
    watchFor(false);
    failures = 2;
    watch.listening(true, served);
    watch.listening(true, served);
    expect([watch.state, watch.isWatching]).toEqual(['listening', false]);
    await eventually(() => expect(judge.looked).toEqual(['k']));

    expect(judge.told).toEqual(['began listening']);
    expect(asked).toBe(3);
    expect(watch.isWatching).toBe(true);
    watch.lost(7);
    expect([watch.state, watch.isWatching]).toEqual(['lost', false]);
    expect(judge.told).toEqual(['began listening', 'suspended 7']);
  });

  it('begins once, where listening was lost and came back while the time was read', async () => {
    watchFor(false);
    gate = deferred();
    watch.listening(true, served);
    await eventually(() => expect(asked).toBe(1));
    watch.lost(7);
    watch.lost(8);
    watch.listening(true, served);
    gate.resolve();
    await eventually(() => expect(watch.isWatching).toBe(true));
    await turns(3);

    expect(judge.told).toEqual([
      'suspended 7, before it began',
      'began listening',
    ]);
    expect(asked).toBe(2);
  });

  it('looks in silence for a judge that does so, and tells when it ends', async () => {
    watchFor(true);
    watch.listening(false, served);
    await eventually(() => expect(judge.looked).toEqual(['k']));
    expect(watch.state).toBe('silent');
    watch.listening(true, served);
    await eventually(() => expect(judge.told).toHaveLength(2));
    watch.silent(9, served);
    await eventually(() => expect(judge.told).toHaveLength(4));

    expect(judge.told).toEqual([
      'began silent',
      'began listening',
      'suspended 9',
      'began silent',
    ]);
    watch.close();
    expect(judge.told.at(-1)).toBe('suspended 0');
  });

  it('rests in silence for another judge, and lets go who waits', async () => {
    watchFor(false);
    const ready = watch.ready();
    watch.silent(9, served);
    await ready;
    watch.lost(10);
    expect(judge.told).toEqual([]);
    watch.listening(false, served);
    await eventually(() => expect(judge.looked).toEqual(['k']));
    watch.silent(11, served);
    watch.lost(12);
    await turns(3);

    expect(judge.told).toEqual(['began listening', 'suspended 11']);
    expect(asked).toBe(1);
  });

  it('begins nothing after it was closed', async () => {
    watchFor(true);
    watch.listening(true, served);
    watch.close();
    watch.listening(true, served);
    watch.silent(1, served);
    await turns(5);

    expect(watch.state).toBe('closed');
    expect(judge.told).toEqual(['suspended 0, before it began']);
    expect(asked).toBe(0);
  });
});
