import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  type PunctualApp,
  Scene,
  brief,
  clockShows,
  names,
  sortedFlags,
  until,
} from '../../support/punctual/scene.js';

/** On time, where tests hold each other up. */
const PROMPT = 500;
/** The shortest interval between two scans. */
const SCANS = { scanInterval: 1_000 };

/** The newest scan that was completed. */
const lastScanAt = (app: PunctualApp): number =>
  app.app.node.lastScan?.at.getTime() ?? 0;

/** Resolves when a scan that began after this moment is completed. */
async function nextScan(app: PunctualApp): Promise<void> {
  const now = Date.now();
  await until(
    () => lastScanAt(app) > now,
    () => 'no scan began',
  );
}

/** Gives keys a deadline by PEXPIREAT: in the past it would delete them. */
async function expireAll(
  scene: Scene,
  keys: readonly string[],
  at: number,
): Promise<void> {
  const pipeline = scene.admin.pipeline();
  for (const key of keys) pipeline.pexpireat(key, at);
  await pipeline.exec();
  if (Date.now() >= at) throw new Error('this process was held up');
}

// Redis does not look for expired keys in any of these: without a touch nothing expires.
describe.concurrent('the deadline is learnt', () => {
  it('of keys that existed before the start', async (context) => {
    const scene = await Scene.open(context);
    const start = Date.now() + paced(5_000);
    const deadlines = await scene.giveAt(
      names(3_000),
      (i) => start + (i % 1_500),
    );
    await scene.admin.mset(...names(500, 'forever').flatMap((k) => [k, '1']));
    const app = await scene.readyApp({ punctual: { scanCount: 100 } });

    // `ready` waited for the scan.
    expect(app.tracked).toBe(3_000);
    expect(app.app.node.lastScan).toMatchObject({ keys: 3_000 });
    await app.hears(3_000);
    await app.fence();
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
    expect(await scene.admin.dbsize()).toBe(500);
  });

  it('of keys that ran out before the start: they are announced when the scan finds them', async (context) => {
    const scene = await Scene.open(context);
    const deadlines = await scene.give(names(200), 1);
    await clockShows(Math.max(...deadlines.values()) + 5);
    const app = await scene.app();
    await app.hears(200);
    await app.fence();

    const { wrongDeadline, ...rest } = app.audit(deadlines);
    expect(brief({ ...rest, wrongDeadline: [] })).toEqual(ALL_WELL);
    // What their deadline was nobody can tell any more.
    expect(wrongDeadline.map(([, by]) => by)).toEqual(
      names(200).map(() => undefined),
    );
  });

  it('of keys that are created while it runs', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const start = Date.now() + paced(2_000);
    const deadlines = await scene.giveAt(
      names(2_000),
      (i) => start + (i % 1_500),
    );
    await app.hears(2_000);
    await app.fence();

    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
  });

  it('of keys of every type', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const due = Date.now() + paced(3_000);
    const { admin } = scene;
    await admin
      .multi()
      .set('string', '1')
      .rpush('list', '1')
      .sadd('set', '1')
      .zadd('zset', 1, '1')
      .hset('hash', 'a', '1')
      .xadd('stream', '*', 'a', '1')
      .setbit('bits', 7, 1)
      .pfadd('loglog', '1')
      .incr('counter')
      .exec();
    const keys = ['string', 'list', 'set', 'zset', 'hash', 'stream'];
    keys.push('bits', 'loglog', 'counter');
    await expireAll(scene, keys, due);
    await admin.copy('string', 'copy');
    const dump = await admin.dumpBuffer('string');
    await admin.restore('restored', due, dump, 'ABSTTL');
    await app.hears(keys.length + 2);

    const all = [...keys, 'copy', 'restored'];
    const deadlines = new Map(all.map((key) => [key, due]));
    expect(app.check(deadlines)).toEqual(ALL_WELL);
  });

  it.for([
    [5, 300],
    [50, 300],
    [500, 300],
  ])(
    'of hashes that are given one %i ms after they were made',
    async ([wait, ttl], context) => {
      const scene = await Scene.open(context);
      const app = await scene.readyApp();
      const keys = names(100);
      const deadlines = new Map<string, number>();
      await Promise.all(
        keys.map(async (key, i) => {
          await delay(i * 13);
          await scene.admin.hset(key, 'a', '1');
          await delay(wait!);
          const due = Date.now() + paced(2_000) + ttl!;
          deadlines.set(key, due);
          await scene.admin.pexpireat(key, due);
        }),
      );
      expect(sortedFlags(await scene.flags())).toBe('Knx');
      await app.hears(100);
      await app.fence();

      const late = app.events.filter(
        ({ key, heardAt }) => heardAt - deadlines.get(key)! > paced(2_000),
      );
      expect(late).toHaveLength(0);
      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
    },
  );

  describe.for([
    ['by keyspace channels', 'Kgx'],
    ['by keyevent channels', 'KEA'],
  ])('where expire events come, %s,', ([, flags]) => {
    it('of keys that had none', async (context) => {
      const scene = await Scene.open(context, { flags: flags! });
      const keys = names(50);
      await scene.admin.mset(...keys.flatMap((key) => [key, '1']));
      const app = await scene.readyApp();
      expect(app.tracked).toBe(0);
      // Written over: for Redis no new key.
      await scene.admin.mset(...keys.flatMap((key) => [key, '2']));
      const due = Date.now() + paced(2_000);
      await expireAll(scene, keys, due);
      await app.hears(50);
      await app.fence();

      const deadlines = new Map(keys.map((key) => [key, due]));
      expect(app.check(deadlines)).toEqual(ALL_WELL);
    });

    it('when it is shortened', async (context) => {
      const scene = await Scene.open(context, { flags: flags! });
      await scene.give(names(60), 3_600_000);
      const app = await scene.readyApp();
      await scene.give(names(60, 'new'), 3_600_000);
      await app.tracks(120);
      const due = Date.now() + paced(2_000);
      const keys = [...names(60), ...names(60, 'new')];
      await expireAll(scene, keys, due);
      await app.hears(120);
      await app.fence();

      const deadlines = new Map(keys.map((key) => [key, due]));
      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).max).toBeLessThan(paced(2_000));
    });

    it('when SET and GETEX shorten it', async (context) => {
      const scene = await Scene.open(context, { flags: flags! });
      await scene.give(names(40), 3_600_000);
      const app = await scene.readyApp();
      const due = Date.now() + paced(2_000);
      const pipeline = scene.admin.pipeline();
      for (const key of names(20)) pipeline.set(key, '', 'PXAT', due);
      for (const key of names(40).slice(20)) pipeline.getex(key, 'PXAT', due);
      await pipeline.exec();
      await app.hears(40);
      await app.fence();

      const deadlines = new Map(names(40).map((key) => [key, due]));
      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).max).toBeLessThan(paced(2_000));
    });
  });

  it('by the next scan where no event tells: of keys that had none, and when it is shortened', async (context) => {
    const scene = await Scene.open(context);
    const bare = names(30, 'bare');
    const long = names(30, 'long');
    await scene.admin.mset(...bare.flatMap((key) => [key, '1']));
    await scene.give(long, 3_600_000);
    const app = await scene.readyApp({ punctual: SCANS });
    expect(app.tracked).toBe(30);
    // The second looks at new keys are no help: these are not new.
    await nextScan(app);
    const due = Date.now() + paced(4_000);
    await expireAll(scene, [...bare, ...long], due);
    await nextScan(app);
    expect(app.tracked).toBe(60);
    await app.hears(60);
    await app.fence();

    const deadlines = new Map([...bare, ...long].map((key) => [key, due]));
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.handledLate(deadlines).p50).toBeLessThan(paced(PROMPT));
  });

  it.for(['Ex', 'Kx', ''])(
    'by scans alone with notifications \'off\' and the flags "%s"',
    async (flags, context) => {
      const scene = await Scene.open(context, { flags });
      const old = await scene.give(
        names(50, 'old'),
        (i) => paced(4_500) + i * 10,
      );
      const app = await scene.readyApp({
        notifications: 'off',
        punctual: SCANS,
      });
      expect(app.tracked).toBe(50);
      const fresh = await scene.give(
        names(50, 'new'),
        (i) => paced(4_000) + i * 10,
      );
      await nextScan(app);
      expect(app.tracked).toBe(100);
      const deadlines = new Map([...old, ...fresh]);
      await until(
        async () => (await scene.expiredKeys()) === 100,
        () => 'not all keys were touched',
      );
      expect(Date.now() - Math.max(...deadlines.values())).toBeLessThan(
        paced(2_000),
      );
      expect(sortedFlags(await scene.flags())).toBe(sortedFlags(flags));

      // Without any flags there is no event, though each key was touched on time.
      const expected = flags === '' ? new Map<string, number>() : deadlines;
      await app.hears(expected.size);
      expect(app.check(expected)).toEqual(ALL_WELL);
    },
  );

  it('of keys of patterns that are subscribed to later', async (context) => {
    const scene = await Scene.open(context);
    const deadlines = await scene.give(names(40, 'late'), paced(5_000));
    const app = await scene.readyApp({ pattern: 'main:*' });
    expect(app.tracked).toBe(0);
    const heard: (readonly [string, number | undefined])[] = [];
    await app.subscriber.subscribe('late:*', ({ key, deadline }) =>
      heard.push([key, deadline?.getTime()]),
    );
    await app.tracks(40);
    const fresh = await scene.give(names(10, 'late:new'), paced(1_500));
    await until(
      () => heard.length === 50,
      () => `${heard.length} of 50`,
    );

    expect(new Map(heard)).toEqual(new Map([...deadlines, ...fresh]));
  });

  it('no more once nobody asks for the key: it is let go at its next look', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp({ pattern: 'main:*' });
    const heard: string[] = [];
    const subscription = await app.subscriber.subscribe('gone:*', ({ key }) =>
      heard.push(key),
    );
    await scene.give(names(50, 'gone'), paced(2_500));
    await scene.give(names(50, 'gone:renewed'), paced(2_500));
    await app.tracks(100);
    await expireAll(scene, names(50, 'gone:renewed'), Date.now() + 3_600_000);
    await subscription.unsubscribe();
    expect(app.tracked).toBe(100);
    const kept = await scene.give(names(5, 'main'), paced(3_000));
    await app.hears(5);

    expect(app.tracked).toBe(0);
    expect(app.check(kept)).toEqual(ALL_WELL);
    expect(heard).toEqual([]);
    // And none is taken up any more.
    await scene.give(names(50, 'gone:more'), 100);
    await scene.give(names(5, 'main'), 200);
    await app.hears(10);
    expect(app.tracked).toBe(0);
  });

  it('by scans that come at every interval, though subscriptions come and go', async (context) => {
    const scene = await Scene.open(context, { flags: 'Ex' });
    const app = await scene.readyApp({
      notifications: 'off',
      punctual: SCANS,
    });
    const deadlines = await scene.give(names(20), paced(6_500));
    let changing = true;
    const changes = (async () => {
      for (let i = 0; changing; i++) {
        const subscription = await app.subscriber.subscribe(
          `watched:${i}`,
          () => undefined,
        );
        await delay(300);
        await subscription.unsubscribe();
      }
    })();
    await clockShows(Math.min(...deadlines.values()) - 500);
    const { tracked } = app;
    changing = false;
    await changes;

    expect(tracked).toBe(20);
    await app.hears(20);
    expect(app.check(deadlines)).toEqual(ALL_WELL);
  });

  it('by scans that come at every interval, while nothing changes', async (context) => {
    const scene = await Scene.open(context, { flags: 'Ex' });
    await scene.give(names(500), 3_600_000);
    const app = await scene.readyApp({
      notifications: 'off',
      punctual: { scanInterval: 1_000, scanCount: 50 },
    });
    const scans = new Set<number>();
    await until(
      () => scans.add(lastScanAt(app)).size === 4,
      () => `${scans.size} scans`,
    );

    const times = [...scans];
    const between = times.slice(1).map((at, i) => at - times[i]!);
    expect(Math.min(...between)).toBeGreaterThanOrEqual(950);
    expect(app.app.node.lastScan).toMatchObject({ keys: 500 });
    expect(app.tracked).toBe(500);
  });
});
