import { type TestContext, describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  type PunctualApp,
  Scene,
  clockShows,
  names,
  sortedFlags,
  until,
} from '../../support/punctual/scene.js';

interface Listener {
  readonly created: string[];
  readonly expired: string[];
}

/** What another application hears, which has subscribed for itself. */
async function listener(scene: Scene): Promise<Listener> {
  const client = scene.bed.admin(scene.server);
  const heard: Listener = { created: [], expired: [] };
  client.on('message', (channel, key: string) => {
    if (!/^k:/.test(key)) return;
    (channel.endsWith('new') ? heard.created : heard.expired).push(key);
  });
  await client.subscribe('__keyevent@0__:new', '__keyevent@0__:expired');
  return heard;
}

/** Keys created and expired on time: heard by the application and by the other one. */
async function expectHeardByBoth(
  scene: Scene,
  app: PunctualApp,
  other: Listener,
): Promise<void> {
  const deadlines = await scene.give(names(20), paced(1_500));
  await app.hears(20);
  await app.fence();
  expect(app.check(deadlines)).toEqual(ALL_WELL);
  expect(other.created.toSorted()).toEqual(names(20).toSorted());
  expect(other.expired.toSorted()).toEqual(names(20).toSorted());
}

describe.concurrent("the flag n, with notifications 'ensure',", () => {
  it.for([
    ['', 'Knx'],
    ['x', 'Knx'],
    ['E', 'Enx'],
    ['Kx', 'Knx'],
    ['Ex', 'Enx'],
    ['KExe', 'EKenx'],
    ['Eg$x', 'E$gnx'],
    ['Knx', 'Knx'],
  ])('is added to "%s", and CONFIG GET shows it', async ([flags, want], c) => {
    const scene = await Scene.open(c, { flags: flags! });
    await scene.readyApp();

    expect(sortedFlags(await scene.flags())).toBe(sortedFlags(want!));
  });

  it.for(['AEn', 'KEAn', 'AE', 'KEA', 'AEm'])(
    'is on and stays on with "%s", where CONFIG GET hides it',
    async (flags, context) => {
      const scene = await Scene.open(context, { flags });
      const before = await scene.flags();
      const app = await scene.readyApp();
      const other = await listener(scene);
      await expectHeardByBoth(scene, app, other);
      expect(sortedFlags(await scene.flags())).toBe(sortedFlags(before));

      // Each subscription makes it look at the flags anew.
      for (let i = 0; i < 3; i++)
        await app.subscriber.subscribe(`other:${i}`, () => undefined);
      await scene.admin.set('k:again', '');
      await until(
        () => other.created.includes('k:again'),
        () => 'keys that are created are not announced any more',
      );
    },
  );

  it('is not written when it is there already', async (context) => {
    const scene = await Scene.open(context, { flags: 'AEn' });
    await scene.readyApp();

    expect((await scene.calls()).of('config')).toBeLessThan(10);
    const info = await scene.admin.info('commandstats');
    expect(info).toMatch(/^cmdstat_config\|get:/m);
    expect(info).not.toMatch(/^cmdstat_config\|set:/m);
  });

  it('is added again when another application took it away', async (context) => {
    const scene = await Scene.open(context);
    const app = await scene.readyApp();
    await scene.admin.config('SET', 'notify-keyspace-events', 'Kx');
    // This makes it look at the flags; without, it looks every 15 s.
    await app.subscriber.subscribe('other', () => undefined);

    expect(sortedFlags(await scene.flags())).toBe('Knx');
    const deadlines = await scene.give(names(20), paced(1_500));
    await app.hears(20);
    expect(app.check(deadlines)).toEqual(ALL_WELL);
    expect(app.app.node.gaps).toBe(0);
  });

  it('is not asked for without punctual', async (context) => {
    const scene = await Scene.open(context);
    await scene.readyApp({ punctual: false });

    expect(sortedFlags(await scene.flags())).toBe('Kx');
  });
});

describe.concurrent('the flag n, with other modes of notifications,', () => {
  it.for(['verify', 'off'] as const)(
    "is not written with '%s'",
    async (notifications, context) => {
      const scene = await Scene.open(context, { flags: 'Kx' });
      const app = await scene.readyApp({ notifications });

      expect(sortedFlags(await scene.flags())).toBe('Kx');
      expect(app.app.node.state).toBe('listening');
    },
  );

  it("is used with 'verify' and 'off' where it is on", async (context) => {
    await Promise.all([usedWith(context, 'verify'), usedWith(context, 'off')]);
    expect.hasAssertions();
  });
});

async function usedWith(
  context: TestContext,
  notifications: 'verify' | 'off',
): Promise<void> {
  const scene = await Scene.open(context, { flags: 'Exn' });
  const app = await scene.readyApp({ notifications });
  const deadlines = await scene.give(names(20), paced(1_500));
  await clockShows(Math.max(...deadlines.values()));
  await app.hears(20);
  expect(app.check(deadlines)).toEqual(ALL_WELL);
}
