import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import { ALL_WELL, Scene, give, names } from '../../support/punctual/scene.js';

const HOUR = 3_600_000;
const MONTH = 30 * 24 * HOUR;

// Redis does not look for expired keys in any of these: what is counted is the module's doing.
describe.concurrent('what the module asks of Redis', () => {
  it('is next to nothing while 20,000 keys are far from their deadlines', async (context) => {
    const scene = await Scene.open(context);
    await scene.admin.eval(
      `for i = 1, 20000 do redis.call('SET', 'far:' .. i, '', 'PX', ARGV[1]) end`,
      0,
      HOUR,
    );
    await scene.give(names(100, 'month'), MONTH);
    const app = await scene.readyApp();
    expect(app.tracked).toBe(20_100);
    // Created while it runs, and looked at again and again as they have no deadline.
    await scene.admin.mset(...names(100, 'bare').flatMap((key) => [key, '1']));
    await delay(1_500);

    const before = await scene.calls();
    const since = performance.now();
    await delay(5_000);
    const after = await scene.calls();
    const seconds = (performance.now() - since) / 1_000;

    // The only other client is this test's, which asks for INFO and nothing else.
    const perSecond = (after.except('info') - before.except('info')) / seconds;
    console.log(`idle with 20,100 keys: ${perSecond} commands/s`);
    expect(perSecond).toBeGreaterThan(0);
    expect(perSecond).toBeLessThan(5);
    expect(after.of('eval', 'pttl', 'pexpiretime')).toBe(
      before.of('eval', 'pttl', 'pexpiretime'),
    );
    expect(app.tracked).toBe(20_100);
    expect(app.events).toEqual([]);
  });

  it('does not grow with heartbeats of keys that it knows', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const keys = names(200);
    const beat = (): Promise<unknown> =>
      Promise.all(keys.map((key) => scene.admin.set(key, '1', 'EX', 3)));
    await beat();
    await app.tracks(200);
    const before = await scene.calls();
    const since = performance.now();
    for (let i = 0; i < 20; i++) {
      await beat();
      await delay(60);
    }
    const after = await scene.calls();
    expect(after.of('set') - before.of('set')).toBe(20 * 200);
    // A look when the deadline comes that was known at first, every 3 s, and not one for each beat.
    const looks =
      after.of('pttl', 'pexpiretime') - before.of('pttl', 'pexpiretime');
    console.log(`4,000 heartbeats of 200 keys: ${looks} looks`);
    const most = (ms: number): number => 200 * (3 + Math.floor(ms / 3_000));
    expect(looks).toBeLessThanOrEqual(most(performance.now() - since));

    // Longer than the beats: what is known now must be a lower bound.
    const deadlines = await scene.give(keys, paced(3_500));
    await app.hears(200);
    await app.fence();
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    const last = await scene.calls();
    expect(
      last.of('pttl', 'pexpiretime') - before.of('pttl', 'pexpiretime'),
    ).toBeLessThanOrEqual(400 + most(performance.now() - since));
    expect(last.of('eval') - before.of('eval') - 200).toBeLessThan(100);
  });

  it('is one look a key and life, where all is known', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const deadlines = await scene.give(
      names(1_000),
      (i) => paced(3_000) + (i % 100),
    );
    await app.tracks(1_000);
    const before = await scene.calls();
    await app.hears(1_000);
    const after = await scene.calls();

    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(
      after.of('pttl', 'pexpiretime') - before.of('pttl', 'pexpiretime'),
    ).toBeLessThanOrEqual(1_100);
    expect(after.of('eval') - before.of('eval')).toBeLessThanOrEqual(300);
  });

  it('is a bounded number of looks where another client renews without end', async (context) => {
    const scene = await Scene.open(context, { flags: 'KEA' });
    const app = await scene.readyApp();
    await scene.give(names(5_000), HOUR);
    await app.tracks(5_000);
    // So many a second are looked at, and none after a second of more: that was the keys' creation.
    await delay(2_200);
    const before = await scene.calls();
    const started = Date.now();
    const client = scene.bed.admin(scene.server);
    for (let round = 0; round < 6; round++) {
      const pipeline = client.pipeline();
      for (const key of names(5_000)) pipeline.set(key, '', 'EX', 3_600);
      await pipeline.exec();
    }
    const seconds = Math.ceil((Date.now() - started) / 1_000) + 1;
    const last = await give(scene.admin, names(10, 'last'), paced(3_000));
    await app.hears(10);
    const after = await scene.calls();

    expect(app.check(last)).toEqual(ALL_WELL);
    const looks =
      after.of('pttl', 'pexpiretime') - before.of('pttl', 'pexpiretime');
    console.log(`30,000 renewals in ${seconds - 1} s: ${looks} looks`);
    expect(after.of('set') - before.of('set')).toBe(30_000 + 10);
    expect(looks).toBeGreaterThan(500);
    expect(looks).toBeLessThan(10_000 * seconds + 100);
    expect(looks).toBeLessThan(30_000);
  });
});
