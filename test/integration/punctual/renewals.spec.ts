import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  type PunctualApp,
  Scene,
  clockShows,
  names,
  until,
} from '../../support/punctual/scene.js';

const HOUR = 3_600_000;

// Redis does not look for expired keys in any of these: without a touch nothing expires.
describe.concurrent('a key that is tracked', () => {
  it.for([
    ['by keyspace channels', ''],
    ['by keyevent channels', 'Ex'],
    ['where expire events come', 'KEA'],
  ])(
    'is handled at its last deadline however it was renewed, %s',
    async ([, flags], context) => {
      const scene = await Scene.open(context, { flags: flags! });
      const { admin } = scene;
      const keys = names(60);
      const start = Date.now() + paced(4_000);
      await scene.giveAt(keys, (i) => start + i * 5);
      const app = await scene.readyApp();
      expect(app.tracked).toBe(60);
      const deadlines = new Map<string, number>();
      const lead = paced(5_000);
      for (let round = 0; round < 4; round++) {
        const base = Date.now() + lead;
        const pipeline = admin.pipeline();
        for (const [i, key] of keys.entries()) {
          const due = base + i * 5;
          if (i % 4 === 0) pipeline.set(key, '', 'PXAT', due);
          else if (i % 4 === 1) pipeline.getex(key, 'PXAT', due);
          else if (i % 4 === 2) pipeline.pexpireat(key, due);
          else pipeline.pexpireat(key, due, 'GT');
          deadlines.set(key, due);
        }
        await pipeline.exec();
        await delay(200);
      }
      await app.hears(60);
      await app.fence();

      expect(app.check(deadlines)).toEqual(ALL_WELL);
      expect(app.handledLate(deadlines).max).toBeLessThan(paced(2_000));
    },
  );

  it('is not handled when it was persisted, deleted or unlinked in time', async (context) => {
    const scene = await Scene.open(context);
    const keys = names(90);
    const app = await scene.readyApp();
    const deadlines = await scene.give(keys, paced(2_000));
    await app.tracks(90);
    const pipeline = scene.admin.pipeline();
    for (const [i, key] of keys.entries()) {
      if (i % 3 === 0) pipeline.persist(key);
      else if (i % 3 === 1) pipeline.del(key);
      else pipeline.unlink(key);
    }
    await pipeline.exec();
    await clockShows(Math.max(...deadlines.values()) + 50);
    await app.tracks(0);
    await app.fence();

    expect(app.events).toEqual([]);
    expect(await scene.admin.dbsize()).toBe(30);
  });

  it('is not handled when all keys are flushed', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const deadlines = await scene.give(names(50), paced(2_000));
    await app.tracks(50);
    await scene.admin.flushall();
    await clockShows(Math.max(...deadlines.values()) + 50);
    await app.tracks(0);
    await app.fence();

    expect(app.events).toEqual([]);
  });

  it('is handled under its new name when it was renamed', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    // Some new names belong to keys that are tracked already, and live longer.
    await scene.give(names(20, 'new'), HOUR);
    const old = await scene.give(names(40, 'old'), paced(2_500));
    await app.tracks(60);
    const pipeline = scene.admin.pipeline();
    for (let i = 0; i < 40; i++) pipeline.rename(`old:${i}`, `new:${i}`);
    await pipeline.exec();
    await app.hears(40);
    await app.fence();

    const deadlines = new Map(
      [...old].map(([key, at]) => [key.replace('old', 'new'), at]),
    );
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.tracked).toBe(0);
  });

  it('is handled once in each life when it is deleted and made again', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const keys = names(50);
    await scene.give(keys, paced(2_500));
    await app.tracks(50);
    await scene.admin.del(keys);
    const later = await scene.give(keys.slice(0, 25), paced(3_500));
    const sooner = await scene.give(keys.slice(25), paced(1_200));
    await app.hears(50);
    await app.fence();

    expect(app.check(new Map([...later, ...sooner]))).toEqual(ALL_WELL);
  });

  it('has no deadline of a life before: deleted, looked at when it would have run out, and made again', async (context) => {
    // Without `new` events, so that nobody tells of the second life.
    const scene = await Scene.open(context, { flags: 'Ex' });
    const keys = names(20);
    const first = await scene.give(keys, paced(4_000));
    const app = await scene.readyApp({ notifications: 'off' });
    expect(app.tracked).toBe(20);
    await scene.admin.del(keys);
    await clockShows(Math.max(...first.values()) + 20);
    await app.tracks(0);
    // Longer than an announcement can be under way.
    await delay(1_500);
    const second = await scene.give(keys, 30);
    await clockShows(Math.max(...second.values()) + 2);
    // The test is who touches them.
    await scene.admin.exists(keys);
    await app.hears(20);

    const wrong = app.events.filter(
      ({ key, deadline }) =>
        deadline && Math.abs(deadline.getTime() - second.get(key)!) > 2,
    );
    expect(wrong.map(({ key, lateness }) => [key, lateness])).toEqual([]);
  });

  it('has no deadline of a life before: with no event of the second life, on keyspace channels', async (context) => {
    const scene = await Scene.open(context, { flags: 'Kx' });
    const app = await scene.readyApp({
      notifications: 'off',
      punctual: { scanInterval: 1_000 },
    });
    const deadlines: number[] = [];
    for (let life = 0; life < 3; life++) {
      const [deadline] = (await scene.give(['again'], paced(2_500))).values();
      deadlines.push(deadline!);
      await app.hears(life + 1);
    }

    const told = app.events.map((e) => e.deadline?.getTime() ?? 0);
    expect(told.map((at, i) => Math.abs(at - deadlines[i]!) <= 2)).toEqual([
      true,
      true,
      true,
    ]);
    expect(app.tracked).toBe(0);
  });
});

/** Renews a key by some command. Answers whether the key was alive until then. */
type Renew = (scene: Scene, key: string) => Promise<boolean>;

const RENEWALS: readonly (readonly [string, Renew])[] = [
  [
    'SET … XX PX',
    async ({ admin }, key) =>
      (await admin.set(key, '2', 'PX', HOUR, 'XX')) === 'OK',
  ],
  [
    'SET … EX',
    async ({ admin }, key) =>
      (await admin.set(key, '2', 'EX', 3_600, 'GET')) !== null,
  ],
  ['EXPIRE', async ({ admin }, key) => (await admin.expire(key, 3_600)) === 1],
  [
    'PEXPIREAT',
    async ({ admin }, key) =>
      (await admin.pexpireat(key, Date.now() + HOUR)) === 1,
  ],
  ['PERSIST', async ({ admin }, key) => (await admin.persist(key)) === 1],
  [
    'GETEX',
    async ({ admin }, key) => (await admin.getex(key, 'EX', 3_600)) !== null,
  ],
];

// One after the other: each needs to be there at the very millisecond.
describe('a key that is renewed in the very millisecond in which it runs out', () => {
  it.for(RENEWALS)(
    'by %s is handled if it was too late, and else it is not',
    async ([name, renew], context) => {
      const scene = await Scene.open(context);
      const app = await scene.readyApp();
      const renewed = new Map<string, boolean>();
      const count = (alive: boolean): number =>
        [...renewed.values()].filter((one) => one === alive).length;
      // How many ms before its deadline the renewal of a key is sent: one more after each that came
      // too late, one less after each that came in time, however long the way to Redis takes.
      let lead = 6;
      const renewAndLearn = async (key: string): Promise<void> => {
        const alive = await renew(scene, key);
        renewed.set(key, alive);
        lead += alive ? -1 : 1;
      };
      const keys = names(300);
      const start = Date.now() + paced(2_500);
      const apart = paced(3);
      const due = (i: number): number => start + i * apart;
      await scene.giveAt(keys, due);
      await app.tracks(keys.length);

      const renewing: Promise<void>[] = [];
      for (const [i, key] of keys.entries()) {
        await clockShows(due(i) - lead + (i % 8) - 4);
        renewing.push(renewAndLearn(key));
      }
      await Promise.all(renewing);
      await app.fence();

      // Events of keys that were alive, and stay it, are false.
      expect(falseEvents(app, renewed)).toEqual([]);
      const handled = app.events.map(({ key }) => key);
      expect(new Set(handled).size).toBe(handled.length);
      const { superseded } = app.app.status.counters;
      expect(handled.length + superseded).toBe(count(false));
      // Only what SET made anew may be alive again when the handler has its turn.
      expect(superseded).toBeLessThanOrEqual(
        name === 'SET … EX' ? count(false) : 0,
      );
      console.log(
        `${name}: ${count(true)} renewed in time, ${count(false)} too late`,
      );
      // It was put to the test: some came in time and some too late.
      expect(count(true)).toBeGreaterThan(5);
      expect(count(false)).toBeGreaterThan(5);
    },
  );
});

const falseEvents = (
  app: PunctualApp,
  renewed: ReadonlyMap<string, boolean>,
): string[] =>
  app.events.map(({ key }) => key).filter((key) => renewed.get(key));

describe('an expiry that is announced because the key is written over', () => {
  it('is superseded, and not handled', async (context) => {
    const scene = await Scene.open(context);
    // Nothing is touched by the module: it does not know of these.
    const app = await scene.readyApp({ punctual: false });
    const keys = names(200);
    const deadlines = await scene.give(keys, 5);
    await clockShows(Math.max(...deadlines.values()) + 2);
    await scene.admin.mset(...keys.flatMap((key) => [key, 'alive']));
    await until(
      () => app.app.status.counters.received >= 200,
      () => `${app.app.status.counters.received} were announced`,
    );
    await app.fence();

    expect(app.events).toEqual([]);
    expect(app.app.status.counters).toMatchObject({ superseded: 200 });
  });
});
