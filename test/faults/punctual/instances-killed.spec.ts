import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ChildApp } from '../../support/faults/child-app.js';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  PunctualApp,
  Scene,
  clockShows,
  latenessOf,
  names,
} from '../../support/punctual/scene.js';

describe.concurrent('of three instances', () => {
  it('two that are killed and come back cost the third no event', async (context) => {
    const scene = await Scene.open(context);
    const child = async (): Promise<ChildApp> => {
      const app = new ChildApp(scene.bed, {
        module: { connection: scene.server.url, punctual: true },
      });
      await app.says('running');
      return app;
    };
    const close = async (app: PunctualApp): Promise<void> => {
      await app.app.close();
    };
    const living = await scene.readyApp();
    let [killed, closed] = await Promise.all([child(), scene.readyApp()]);
    const start = Date.now() + paced(1_000);
    // Some were created before, and some will be while instances come and go.
    const deadlines = await scene.giveAt(names(600), (i) => start + i * 12);
    const fresh = new Map<string, number>();
    const creating = (async () => {
      for (let i = 0; i < 60; i++) {
        const given = await scene.give(names(5, `new${i}`), 200 + i * 10);
        for (const [key, at] of given) fresh.set(key, at);
        await delay(100);
      }
    })();

    for (let round = 0; round < 3; round++) {
      await clockShows(start + 800 + round * 2_200);
      killed.kill('SIGKILL');
      await close(closed);
      await delay(300);
      [killed, closed] = await Promise.all([child(), scene.readyApp()]);
    }
    const backAt = Date.now() + 500;
    await creating;
    const last = await scene.giveAt(names(100, 'last'), (i) => backAt + 9 * i);
    const all = new Map([...deadlines, ...fresh, ...last]);
    await living.hears(all.size);
    await living.fence();

    expect(fresh.size).toBe(300);
    expect(living.events).toHaveLength(1_000);
    expect(living.checkKnown(all)).toEqual(ALL_WELL);
    expect(living.audit(all).wrongDeadline.length).toBeLessThan(100);
    expect(living.handledLate(all).p50).toBeLessThan(paced(500));
    expect(living.app.node.gaps).toBe(0);
    expect(await scene.admin.dbsize()).toBe(0);

    // Those that came back hear all that is due from then on, each once.
    const late = [...all].filter(([, at]) => at >= backAt).map(([key]) => key);
    expect(late.length).toBeGreaterThanOrEqual(100);
    await killed.says('handled', late.length);
    const heard = killed.all('handled').map(({ key }) => key!);
    expect(late.filter((key) => !heard.includes(key))).toEqual([]);
    expect(new Set(heard).size).toBe(heard.length);
    expect(late.filter((key) => closed.eventsOf(key).length !== 1)).toEqual([]);
  });

  it('the last that lives touches what the others had known', async (context) => {
    const scene = await Scene.open(context);
    const first = await scene.readyApp();
    const others = await Promise.all([scene.readyApp(), scene.readyApp()]);
    const start = Date.now() + paced(3_000);
    const deadlines = await scene.giveAt(names(200), (i) => start + i * 2);
    await Promise.all([first, ...others].map((app) => app.tracks(200)));
    await Promise.all(others.map((app) => app.app.close()));
    expect(Date.now()).toBeLessThan(start);
    await first.hears(200);
    await first.fence();

    expect(first.check(deadlines)).toEqual(ALL_WELL);
    expect(others.flatMap(({ events }) => events)).toEqual([]);
  });

  it('each hears each expiry once, whoever touched the key', async (context) => {
    const scene = await Scene.open(context);
    const apps = await Promise.all([1, 2, 3].map(() => scene.readyApp()));
    const start = Date.now() + paced(1_000);
    const deadlines = await scene.giveAt(names(300), (i) => start + i * 3);
    for (const app of apps) await app.tracks(300);
    for (const app of apps) await app.hears(300);
    for (const app of apps) await app.fence();

    for (const app of apps) {
      expect(app.checkKnown(deadlines)).toEqual(ALL_WELL);
      // Whoever touches a key first, each knows when it ran out; where this process is held up, some may be forgotten.
      expect(app.audit(deadlines).wrongDeadline.length).toBeLessThan(60);
    }
    const late = apps.flatMap(({ events }) =>
      events.flatMap(({ lateness }) => lateness ?? []),
    );
    expect(latenessOf(late).p50).toBeLessThan(paced(500));
  });
});
