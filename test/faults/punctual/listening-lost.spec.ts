import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { clientsOf } from '../../support/faults/bed.js';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  type PunctualApp,
  Scene,
  clockShows,
  names,
  until,
} from '../../support/punctual/scene.js';

/** The looks that the module may have taken at keys. Keys that expire, expire by these. */
const looks = async (scene: Scene): Promise<number> =>
  (await scene.calls()).of('eval', 'pttl', 'scan', 'exists', 'pexpiretime');

/** Kills the listening connection of an application at the server. */
async function killListener(scene: Scene, app: PunctualApp): Promise<void> {
  const clients = await clientsOf(scene.admin, app.app.name);
  const [listener, ...more] = clients.filter(({ subscribed }) => subscribed);
  if (!listener || more.length > 0)
    throw new Error(`listeners: ${JSON.stringify(clients)}`);
  await scene.admin.client('KILL', 'ID', listener.id);
}

// Redis does not look for expired keys in any of these: what expires, expires by a touch.
describe.concurrent('while nobody listens, nothing is touched', () => {
  it('and all that fell due is handled when listening is back', async (context) => {
    const scene = await Scene.open(context);
    const proxy = await scene.bed.proxy(scene.server);
    const app = await scene.readyApp({ connection: proxy.url });
    const start = Date.now() + paced(2_000);
    const deadlines = await scene.giveAt(names(300), (i) => start + i * 5);
    await app.tracks(300);

    // The commands' connection stays.
    await proxy.refuse();
    await killListener(scene, app);
    await app.app.reaches('connecting');
    const [expired, looked] = [await scene.expiredKeys(), await looks(scene)];
    expect(Date.now()).toBeLessThan(start);
    // Keys that are made meanwhile, and given to nobody.
    const fresh = await scene.give(names(20, 'fresh'), 300);
    const own = fresh.size;
    await clockShows(start + 900);
    expect(await scene.expiredKeys()).toBe(expired);
    // The test's own scripts apart.
    expect((await looks(scene)) - looked).toBeLessThanOrEqual(2 * own);
    expect(app.events).toEqual([]);
    expect(app.app.state).toBe('connecting');

    await proxy.pass();
    await app.app.recovers(0);
    await app.hears(320);
    await app.fence();
    // Of a key that fell due meanwhile no deadline is known: it may have been renewed.
    expect(app.checkKnown(new Map([...deadlines, ...fresh]))).toEqual(ALL_WELL);
    expect(app.app.node.gaps).toBe(1);
  });

  it('also not by a look that was under way when both connections fell silent and were cut', async (context) => {
    const scene = await Scene.open(context);
    const proxy = await scene.bed.proxy(scene.server);
    const app = await scene.readyApp({ connection: proxy.url });
    const due = Date.now() + paced(1_500);
    const deadlines = await scene.giveAt(names(100), due);
    await app.tracks(100);

    // No sooner: silence that lasts is found.
    await clockShows(due - 1_000);
    proxy.silence();
    expect(Date.now()).toBeLessThan(due);
    // The look goes into the silence, long before anybody finds that it is one.
    await clockShows(due + 300);
    expect(app.app.state).toBe('listening');
    expect(await scene.admin.dbsize()).toBe(100);
    proxy.cut();
    await app.app.reaches('connecting');
    await proxy.pass();
    await app.app.recovers(0);
    await until(
      async () => (await scene.admin.dbsize()) === 0,
      () => 'not all keys were touched',
    );
    await app.fence();

    expect(app.checkKnown(deadlines)).toEqual(ALL_WELL);
  });

  it('also not by looks at keys that were created right before both connections were cut', async (context) => {
    const scene = await Scene.open(context);
    const proxy = await scene.bed.proxy(scene.server);
    const app = await scene.readyApp({ connection: proxy.url });
    // Only the answers of commands stay away: new keys are heard of, and read.
    const clients = await clientsOf(scene.admin, app.app.name);
    proxy.silenceOnly(
      clients.filter(({ subscribed }) => !subscribed).map(({ port }) => port),
    );
    const deadlines = await scene.give(names(50), 300);
    await clockShows(Math.max(...deadlines.values()) + 100);
    expect(app.app.state).toBe('listening');
    proxy.cut();
    await app.app.reaches('connecting');
    await app.app.recovers(0);
    await until(
      async () => (await scene.admin.dbsize()) === 0,
      () => 'not all keys were touched',
    );
    await app.fence();

    expect(app.checkKnown(deadlines)).toEqual(ALL_WELL);
  });

  it('also not while the ACL refuses the channels', async (context) => {
    const scene = await Scene.open(context);
    await scene.user('app', '~*', '&*', '+@all');
    const app = await scene.readyApp({
      connection: {
        host: '127.0.0.1',
        port: scene.server.port,
        username: 'app',
        password: 'app',
      },
    });
    const due = Date.now() + paced(3_000);
    const deadlines = await scene.giveAt(names(100), due);
    await app.tracks(100);

    // Redis closes the connection that holds a subscription which is not allowed any more.
    await scene.user('app', 'resetchannels');
    await app.app.reaches('refused');
    expect(Date.now()).toBeLessThan(due);
    await clockShows(due + 500);
    const untouched = await scene.admin.dbsize();
    await scene.user('app', 'allchannels');
    await app.app.reaches('listening');
    await until(
      async () => (await scene.admin.dbsize()) === 0,
      () => 'not all keys were touched',
    );
    await app.fence();

    expect({ untouched, ...app.checkKnown(deadlines) }).toEqual({
      untouched: 100,
      ...ALL_WELL,
    });
  });

  it('also not while the server announces nothing', async (context) => {
    const scene = await Scene.open(context, { flags: 'Kxn' });
    const app = await scene.readyApp({ notifications: 'verify' });
    const due = Date.now() + paced(3_000);
    const deadlines = await scene.giveAt(names(100), due);
    await app.tracks(100);
    await scene.admin.config('SET', 'notify-keyspace-events', '');
    // This makes it look at the flags; without, it looks every 15 s.
    await app.subscriber.subscribe('other', () => undefined);
    await app.app.reaches('deaf');
    expect(Date.now()).toBeLessThan(due);
    await clockShows(due + 500);
    // The self-test may have a key of its own there.
    expect(await scene.admin.dbsize()).toBeGreaterThanOrEqual(100);

    await scene.admin.config('SET', 'notify-keyspace-events', 'Kxn');
    await app.app.reaches('listening');
    await app.hears(100);
    await app.fence();
    expect(app.checkKnown(deadlines)).toEqual(ALL_WELL);
  });
});

describe.concurrent('when a connection is killed over and over', () => {
  it('the commands’ one: every key is handled, on time', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const deadlines = await scene.give(
      names(1_000),
      (i) => paced(2_000) + i * 4,
    );
    let killing = true;
    let kills = 0;
    const killer = (async () => {
      while (killing) {
        const clients = await clientsOf(scene.admin, app.app.name);
        for (const { id, subscribed } of clients)
          if (!subscribed)
            kills += (await scene.admin.client('KILL', 'ID', id)) as number;
        await delay(150);
      }
    })();
    await clockShows(Math.max(...deadlines.values()));
    killing = false;
    await killer;
    await app.hears(1_000);
    await app.fence();

    console.log(`${kills} kills of the commands' connection`);
    expect(kills).toBeGreaterThan(0);
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.handledLate(deadlines).max).toBeLessThan(paced(4_000));
    expect(app.app.node.gaps).toBe(0);
  });

  it('the listener: keys are lost in gaps only, and few', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    const deadlines = await scene.give(
      names(2_000),
      (i) => paced(2_000) + i * 2,
    );
    let kills = 0;
    while (Date.now() < Math.max(...deadlines.values())) {
      await delay(300);
      await killListener(scene, app);
      kills++;
      await app.app.recovers(kills - 1);
    }
    await until(
      async () => (await scene.admin.dbsize()) === 0,
      () => 'not all keys were touched',
    );
    await app.fence();

    expect(kills).toBeGreaterThan(0);
    const { missing } = app.audit(deadlines);
    expect({ ...app.checkKnown(deadlines), missing: 'none' }).toEqual(ALL_WELL);
    const unreported = missing.filter((key) => {
      const due = deadlines.get(key)!;
      return !app.app.gaps.some(({ from, to }) => from <= due && due <= to);
    });
    expect(unreported).toEqual([]);
    // Only what was announced between the kill and the moment when it was noticed.
    console.log(`${kills} kills: ${missing.length} of 2,000 lost`);
    expect(app.app.node.gaps).toBe(kills);
  });
});
