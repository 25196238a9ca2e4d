import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  Scene,
  clockShows,
  names,
  sortedFlags,
} from '../../support/punctual/scene.js';

const SAVE = { args: ['--save', '3600 1'] };
/** Without it a server looks for expired keys by itself again. */
const noActiveExpire = ({ admin }: Scene) =>
  admin.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');

describe.concurrent('when Redis is restarted', () => {
  it('with its data, keys are handled on time all the same', async (context) => {
    const scene = await Scene.open(context, SAVE);
    const app = await scene.readyApp();
    const start = Date.now() + paced(6_000);
    const deadlines = await scene.giveAt(names(300), (i) => start + i * 3);
    await app.tracks(300);
    await scene.server.restart();
    await noActiveExpire(scene);
    await app.app.recovers(0);
    expect(sortedFlags(await scene.flags())).toBe('Knx');
    const fresh = await scene.give(
      names(100, 'new'),
      (i) => paced(1_500) + i * 3,
    );
    await app.ready();
    expect(Date.now()).toBeLessThan(start);
    await app.hears(400);
    await app.fence();

    const all = new Map([...deadlines, ...fresh]);
    expect(app.check(all)).toEqual(ALL_WELL);
    expect(app.handledLate(all).p50).toBeLessThan(paced(500));
    expect(app.app.node.gaps).toBe(1);
    expect(app.tracked).toBe(0);
  });

  it('with its data, keys that fell due meanwhile are touched once it is listened to', async (context) => {
    // With an append-only file expired keys are still there after the start.
    const scene = await Scene.open(context, {
      args: ['--appendonly', 'yes', '--appendfsync', 'always'],
    });
    const app = await scene.readyApp();
    const start = Date.now() + 700;
    await scene.giveAt(names(50), start);
    await app.tracks(50);
    await scene.server.kill();
    await app.app.reaches('connecting');
    await clockShows(start + 300);
    await scene.server.restart();
    await app.app.recovers(0);
    // Redis itself may have been first, when nobody could hear: what matters is that it goes on.
    await app.fence();
    await noActiveExpire(scene);
    const fresh = await scene.give(
      names(50, 'new'),
      (i) => paced(1_500) + i * 5,
    );
    await app.hears(app.events.length + 50);
    await app.fence();

    const handled = app.events.map(({ key }) => key);
    expect(new Set(handled).size).toBe(handled.length);
    expect([...fresh.keys()].filter((key) => !handled.includes(key))).toEqual(
      [],
    );
    expect(await scene.admin.dbsize()).toBe(0);
    expect(app.tracked).toBe(0);
  });

  it('without its data, no event comes of keys that are lost, and no look is wasted twice', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const start = Date.now() + paced(4_000);
    await scene.giveAt(names(200), (i) => start + i);
    await app.tracks(200);
    await scene.server.kill();
    await scene.server.restart();
    await noActiveExpire(scene);
    await app.app.recovers(0);
    const fresh = await scene.give(
      names(50, 'new'),
      (i) => paced(1_500) + i * 5,
    );
    await clockShows(start + 400);
    await app.hears(50);
    await app.tracks(0);
    await app.fence();

    expect(app.check(fresh)).toEqual(ALL_WELL);
    const before = await scene.calls();
    await delay(1_000);
    const after = await scene.calls();
    expect(after.of('eval', 'pttl', 'pexpiretime', 'scan')).toBe(
      before.of('eval', 'pttl', 'pexpiretime', 'scan'),
    );
  });

  it('over and over, keys are handled on time in between', async (context) => {
    const scene = await Scene.open(context, SAVE);
    const app = await scene.readyApp();
    const start = Date.now() + paced(10_000);
    const far = await scene.giveAt(names(100, 'far'), (i) => start + i * 5);
    const all = new Map(far);
    for (let round = 1; round <= 2; round++) {
      await scene.server.restart();
      await noActiveExpire(scene);
      await app.app.recovers(round - 1);
      const near = await scene.give(names(30, `near${round}`), paced(1_500));
      for (const [key, at] of near) all.set(key, at);
      await app.hears(30 * round);
    }
    await app.hears(160);
    await app.fence();

    expect(app.check(all)).toEqual(ALL_WELL);
    expect(app.app.node.gaps).toBe(2);
    expect(app.handledLate(all).max).toBeLessThan(paced(2_000));
  });
});
