import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  Scene,
  brief,
  names,
  sortedFlags,
  until,
} from '../../support/punctual/scene.js';

/** The order of magnitude of what "on time" means where tests hold each other up. */
const PROMPT = 500;
/** How long the loop of this process may be held up. */
const HELD_UP = 2_000;

// Redis does not look for expired keys in any of these: what expires, expires by a touch, and the
// tests touch nothing.
describe.concurrent('a key is touched when it is due,', () => {
  it('or else it would not expire at all', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ punctual: false });
    const deadlines = await scene.give(names(20), 50);
    await until(
      () => Date.now() > Math.max(...deadlines.values()) + 1_500,
      () => 'time stands still',
    );

    expect(app.events).toEqual([]);
    expect(await scene.expiredKeys()).toBe(1); // the module's own, for its self-test
    expect(await scene.admin.dbsize()).toBe(20);
  });

  it('though another client creates it anew before the handler has its turn', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const raw = scene.bed.admin(scene.server);
    let announced = 0;
    raw.on('message', (_, key: string) => {
      if (!key.startsWith('k:')) return;
      announced++;
      if (announced <= 300)
        void scene.admin.set(key, '', 'PX', announced < 270 ? 60 : 120);
    });
    await scene.admin.config('SET', 'notify-keyspace-events', 'KEnx');
    await raw.subscribe('__keyevent@0__:expired');
    await scene.give(names(30), 60);
    await until(
      () => announced >= 330,
      () => `${announced} expiries were announced`,
    );
    await app.fence();

    const { handled, superseded } = app.app.status.counters;
    expect(announced).toBe(330);
    expect(handled + superseded).toBe(330 + 1);
    expect(app.events).toHaveLength(handled - 1);
    expect(await scene.admin.dbsize()).toBe(0);
  });

  it.for([
    ['', 'Knx', 'keyspace channels'],
    ['Kx', 'Knx', 'keyspace channels'],
    ['Kgx', 'Kgnx', 'keyspace channels'],
    ['Ex', 'Enx', 'keyevent channels'],
    ['KEA', 'AEK', 'keyspace channels'],
    ['AEn', 'AE', 'keyevent channels'],
  ])(
    'with the flags "%s" at first',
    async ([before, after, family], context) => {
      const scene = await Scene.open(context, { flags: before! });
      const start = Date.now() + paced(4_000);
      const old = await scene.giveAt(names(50, 'old'), (i) => start + i * 10);
      const app = await scene.readyApp();
      const soon = Date.now() + paced(1_500);
      const fresh = await scene.giveAt(names(50, 'new'), (i) => soon + i * 20);
      await app.hears(100);
      await app.fence();

      const deadlines = new Map([...old, ...fresh]);
      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
      expect(sortedFlags(await scene.flags())).toBe(sortedFlags(after!));
      const channels = (await scene.admin.pubsub('CHANNELS')) as string[];
      const byKeyevent = channels.includes('__keyevent@0__:expired');
      expect(byKeyevent).toBe(family === 'keyevent channels');
    },
  );

  it.for([
    ['by keyspace channels', ''],
    ['by keyevent channels', 'Ex'],
  ])('for patterns that overlap, %s', async ([, flags], context) => {
    const scene = await Scene.open(context, { flags: flags! });
    const app = await scene.readyApp();
    const heard: KeyExpiredEvent[] = [];
    for (const pattern of ['device:*', 'device:?'])
      await app.subscriber.subscribe(pattern, (event) => heard.push(event));
    const due = Date.now() + paced(1_000);
    const deadlines = await scene.giveAt(names(10, 'device'), due);
    const others = await scene.giveAt(names(10, 'other'), due);
    await app.hears(20);
    await app.fence();

    expect(app.check(new Map([...deadlines, ...others]))).toEqual(ALL_WELL);
    expect(heard).toHaveLength(20);
    for (const { key, deadline, lateness } of heard) {
      expect(Math.abs(deadline!.getTime() - deadlines.get(key)!)).toBeLessThan(
        3,
      );
      expect(lateness).toBe(app.eventsOf(key)[0]!.lateness);
    }
  });

  it.for(['app:', 'a*p[p]:'])(
    'under the keyPrefix %s, and none else',
    async (keyPrefix, context) => {
      const scene = await Scene.open(context);
      const old = await scene.give(names(20, `${keyPrefix}old`), paced(4_000));
      await scene.give(names(20, 'axpp:other'), 200);
      const app = await scene.readyApp({
        connection: { host: '127.0.0.1', port: scene.server.port, keyPrefix },
        pattern: '*:*',
      });
      const fresh = await scene.give(
        names(20, `${keyPrefix}new`),
        paced(1_000),
      );
      await scene.give(names(20, 'axpp:more'), 200);
      await app.hears(40);

      const deadlines = new Map(
        [...old, ...fresh].map(([key, at]) => [
          key.slice(keyPrefix.length),
          at,
        ]),
      );
      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
      // Nobody asked for the others: nobody touched them.
      expect(await scene.admin.dbsize()).toBe(40);
      expect(app.tracked).toBe(0);
    },
  );

  it('by a client of the user’s own, whatever its options', async (context) => {
    const scene = await Scene.open(context);
    const client = new Redis({
      host: '127.0.0.1',
      port: scene.server.port,
      lazyConnect: true,
      keyPrefix: 'own:',
      stringNumbers: true,
      enableAutoPipelining: true,
      replyMapping: 'resp3',
      maxRetriesPerRequest: 0,
      commandTimeout: 10_000,
    });
    const old = await scene.give(names(20, 'own:old'), paced(4_000));
    const app = await scene.readyApp({ connection: client });
    expect(app.tracked).toBe(20);
    const fresh = await scene.give(names(20, 'own:new'), paced(1_500));
    await app.hears(40);

    const deadlines = new Map(
      [...old, ...fresh].map(([key, at]) => [key.slice('own:'.length), at]),
    );
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.events.every(({ lateness }) => Number.isInteger(lateness))).toBe(
      true,
    );
  });

  it('in the database that the connection names, and in none else', async (context) => {
    const scene = await Scene.open(context);
    const other = scene.bed.admin(scene.server, { db: 3 });
    const app = await scene.readyApp({ connection: `${scene.server.url}/3` });
    const deadline = Date.now() + paced(2_000);
    for (const key of names(10)) {
      await other.set(key, '', 'PXAT', deadline);
      await scene.admin.set(key, '', 'PXAT', deadline);
    }
    await app.hears(10);

    const deadlines = new Map(names(10).map((key) => [key, deadline]));
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.events.every(({ database }) => database === 3)).toBe(true);
    expect(await scene.admin.dbsize()).toBe(10);
    expect(await other.dbsize()).toBe(0);
  });

  it('whatever the bytes of its name', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const keys = [
      Buffer.from([0xff, 0xfe]),
      Buffer.from([0xff, 0xfd]),
      Buffer.from('\0'),
      Buffer.from('a b\r\nc'),
      Buffer.from('[a]*?\\'),
      Buffer.alloc(3_000, 'x'),
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    ];
    const deadline = Date.now() + paced(2_000);
    for (const key of keys) await scene.admin.set(key, '', 'PXAT', deadline);
    await app.hears(keys.length);

    const hex = (list: readonly Buffer[]) =>
      list.map((key) => key.toString('hex')).toSorted();
    expect(hex(app.events.map(({ keyBuffer }) => keyBuffer))).toEqual(
      hex(keys),
    );
    expect(app.events.map((e) => e.deadline?.getTime())).toEqual(
      keys.map(() => deadline),
    );
  });
});

// One after the other: held up by each other they would measure that.
describe('a key is touched when it is due', () => {
  it('with any time to live, from 1 ms on', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const short = [1, 2, 3, 5, 10, 20, 50, 100, 250, 500];
    const ttls = [...short, paced(1_000), paced(2_000)];
    const keys = names(ttls.length * 25);
    const deadlines = await scene.give(keys, (i) => ttls[i % ttls.length]!);
    await app.hears(keys.length);
    await app.fence();

    // Of a key that is gone before its time to live was read the deadline is not known.
    const known = new Set(
      app.events.filter((e) => e.deadline).map(({ key }) => key),
    );
    const audit = app.audit(deadlines);
    expect(
      brief({
        ...audit,
        wrongDeadline: audit.wrongDeadline.filter(([key]) => known.has(key)),
      }),
    ).toEqual(ALL_WELL);
    const lived = keys.filter((_, i) => i % ttls.length >= short.length);
    expect(lived.filter((key) => !known.has(key))).toEqual([]);
    console.log(`${known.size} of ${keys.length} deadlines were known`);
    const { p50, max } = app.handledLate(deadlines);
    expect(p50).toBeLessThan(paced(100));
    expect(max).toBeLessThan(paced(HELD_UP));
    expect(app.events.every(({ source }) => source === 'notification')).toBe(
      true,
    );
  });

  it('with 10,000 of them in the same millisecond', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ concurrency: 1_000 });
    const keys = names(10_000);
    const due = Date.now() + paced(4_000);
    const deadlines = await scene.giveAt(keys, due);
    await app.tracks(keys.length);
    expect(Date.now()).toBeLessThan(due);
    await app.hears(keys.length);
    await app.fence();

    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.toldLate.p50).toBeLessThan(paced(2_500));
    const { lateness, counters } = app.app.status;
    expect(lateness.count).toBe(10_000);
    expect(counters).toMatchObject({ handled: 10_001, superseded: 0 });
    console.log(
      `10,000 keys in one ms: handled ${JSON.stringify(app.handledLate(deadlines))}, status ${JSON.stringify(lateness)}`,
    );
  });

  it('in each of 200 lives of one key', async (context) => {
    const scene = await Scene.open(context);
    const recorded: number[] = [];
    const life = paced(20);
    const live = async (): Promise<void> => {
      const [deadline] = (await scene.give(['again'], life)).values();
      recorded.push(deadline!);
    };
    const app = await scene.readyApp({
      work: () => (recorded.length < 200 ? live() : undefined),
    });
    await live();
    await app.hears(200);
    await app.fence();

    expect(app.events).toHaveLength(200);
    expect(app.app.status.counters.superseded).toBe(0);
    const told = app.events.map(({ deadline }) => deadline?.getTime());
    const wrong = told.flatMap((at, i) =>
      at !== undefined && Math.abs(at - recorded[i]!) > 2
        ? [[i, at - recorded[i]!]]
        : [],
    );
    expect(wrong).toEqual([]);
    // Where this process is held up for longer than the key lives, its deadline is never read.
    const known = told.filter((at) => at !== undefined).length;
    console.log(`${known} of 200 deadlines were known`);
    expect(known).toBeGreaterThan(0);
    const late = app.events.map(({ heardAt }, i) => heardAt - recorded[i]!);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
    expect(late.toSorted((a, b) => a - b)[100]).toBeLessThan(paced(100));
    for (const [i, { lateness = 0 }] of app.events.entries())
      expect(lateness).toBeLessThanOrEqual(late[i]! + 2);
  });

  it('each time when it is created anew as soon as it has expired', async (context) => {
    const scene = await Scene.open(context);
    const lives = new Map<string, number[]>();
    const life = paced(250);
    const live = async (key: string): Promise<void> => {
      const [deadline] = (await scene.give([key], life)).values();
      lives.set(key, [...(lives.get(key) ?? []), deadline!]);
    };
    const app = await scene.readyApp({
      work: ({ key }: KeyExpiredEvent) =>
        lives.get(key)!.length < 10 ? live(key) : undefined,
    });
    const keys = names(40);
    await Promise.all(keys.map(live));
    await app.hears(400);
    await app.fence();

    expect(app.events).toHaveLength(400);
    const wrong: unknown[] = [];
    let unknown = 0;
    for (const key of keys)
      for (const [i, { deadline }] of app.eventsOf(key).entries()) {
        const by = (deadline?.getTime() ?? Number.NaN) - lives.get(key)![i]!;
        if (Number.isNaN(by)) unknown++;
        else if (Math.abs(by) > 2) wrong.push([key, i, by]);
      }
    expect(wrong).toEqual([]);
    // This process would have to be held up for as long as a key lives.
    console.log(`${unknown} of 400 deadlines were not known`);
    expect(unknown).toBeLessThan(400);
    expect(app.app.status.counters).toMatchObject({
      handled: 401,
      superseded: 0,
      failed: 0,
    });
  });
});

describe('status()', () => {
  it('tells what is tracked, how late events were and what the scan found', async (context) => {
    const scene = await Scene.open(context);
    const before = Date.now();
    await scene.admin.mset('no', '1', 'ttl', '2');
    await scene.give(names(300, 'far'), 3_600_000);
    await scene.give(names(7, 'near'), paced(4_000));
    const app = await scene.app({ punctual: { scanCount: 10 } });
    expect(app.app.status.lateness).toMatchObject({ count: 0 });
    await app.ready();

    const [node] = app.app.status.nodes;
    expect(node!.tracked).toBe(307);
    expect(node!.lastScan).toEqual({
      at: expect.any(Date) as Date,
      keys: 307,
      duration: expect.any(Number) as number,
    });
    expect(node!.lastScan!.at.getTime()).toBeGreaterThanOrEqual(before);
    expect(node!.lastScan!.duration).toBeGreaterThanOrEqual(0);
    await scene.give(names(5, 'new'), 3_600_000);
    await app.tracks(312);

    await app.hears(7);
    expect(app.tracked).toBe(305);
    const { lateness } = app.app.status;
    const told = app.events.map((e) => e.lateness!).toSorted((a, b) => a - b);
    expect(lateness).toMatchObject({
      count: 7,
      p50: told[3],
      p99: told[6],
      max: told[6],
      histogram: { count: 7 },
    });
  });

  it('of an application without it tells nothing of deadlines', async (context) => {
    const scene = await Scene.open(context, { activeExpire: true });
    const app = await scene.readyApp({ punctual: false });
    await scene.give(names(3), 20);
    await app.hears(3);

    const [node] = app.app.status.nodes;
    expect(node).not.toHaveProperty('tracked');
    expect(node).not.toHaveProperty('lastScan');
    expect(app.app.status.lateness).toMatchObject({ count: 0 });
    for (const event of app.events) {
      expect(event).not.toHaveProperty('deadline');
      expect(event).not.toHaveProperty('lateness');
    }
  });
});
