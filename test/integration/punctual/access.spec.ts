import { setTimeout as delay } from 'node:timers/promises';
import { type TestContext, describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import {
  ALL_WELL,
  type AppOptions,
  type PunctualApp,
  Scene,
  type SceneOptions,
  clockShows,
  names,
} from '../../support/punctual/scene.js';

/** An application that logs in as a user with these rights and no others. */
async function open(
  context: TestContext,
  rules: string,
  { flags = 'KExn', ...server }: SceneOptions = {},
  options: AppOptions = {},
): Promise<{ scene: Scene; start: () => Promise<PunctualApp> }> {
  const scene = await Scene.open(context, { flags, ...server });
  await scene.user('app', '~*', '&*', ...rules.split(' '));
  const connection = {
    host: '127.0.0.1',
    port: scene.server.port,
    username: 'app',
    password: 'app',
  };
  return { scene, start: () => scene.readyApp({ connection, ...options }) };
}

/** What an operator is told that has to do with deadlines. */
const warnings = (app: PunctualApp): string[] =>
  app.app.log.flatMap(({ level, text }) =>
    level === 'warn' && /deadline|PTTL|SCAN/.test(text) ? [text] : [],
  );

const errors = (app: PunctualApp): string[] =>
  app.app.log.flatMap(({ level, text }) => (level === 'error' ? [text] : []));

/** Commands that the tests themselves give. */
const OWN = ['info', 'debug', 'acl', 'set', 'pexpiretime', 'exists', 'hset'];

describe.concurrent('a user of Redis', () => {
  it.for([
    ['with read and pub/sub rights only', '+@read +@pubsub -config -eval'],
    ['that may not run scripts', '+@all -@scripting'],
    ['that may not ask for the time', '+@all -time'],
    ['that may do neither', '+@all -time -@scripting'],
  ])('%s is served on time', async ([, rules], context) => {
    const { scene, start } = await open(context, rules!);
    const old = await scene.give(names(50, 'old'), (i) => paced(4_000) + i * 5);
    const app = await start();
    expect(app.tracked).toBe(50);
    const fresh = await scene.give(
      names(50, 'new'),
      (i) => paced(1_500) + i * 5,
    );
    await app.hears(100);
    await app.fence();

    const deadlines = new Map([...old, ...fresh]);
    expect(app.check(deadlines, 100)).toEqual(ALL_WELL);
    expect(app.handledLate(deadlines).p50).toBeLessThan(paced(500));
    expect(warnings(app)).toEqual([]);
    expect(errors(app)).toEqual([]);
    // One SCAN, a few looks at each key, and what a start takes.
    const calls = await scene.calls();
    expect(calls.except(...OWN)).toBeLessThan(1_500);
  });

  it.for([
    ['with PTTL', '+@all -pttl -pexpiretime'],
    [
      'with read and pub/sub rights but PTTL',
      '+@read +@pubsub -pttl -pexpiretime',
    ],
    ['with neither PTTL nor SCAN', '+@all -pttl -pexpiretime -scan'],
    ['with PTTL, without scripts', '+@all -pttl -pexpiretime -@scripting'],
  ])(
    'that may not learn deadlines (%s) is told so once, and served as late as Redis is',
    async ([, rules], context) => {
      const { scene, start } = await open(context, rules!, {
        activeExpire: true,
        args: ['--hz', '100'],
      });
      await scene.give(names(50, 'old'), paced(1_500));
      const app = await start();
      const wave = async (i: number): Promise<void> => {
        await scene.give(names(20, `new${i}`), 200);
        await delay(250);
      };
      for (let i = 0; i < 10; i++) await wave(i);
      await app.hears(250);
      await app.fence();

      expect(app.events).toHaveLength(250);
      expect(app.tracked).toBe(0);
      expect(app.app.status.lateness.count).toBe(0);
      expect(warnings(app)).toEqual([
        expect.stringContaining(
          'Grant PEXPIRETIME (or PTTL) and SCAN',
        ) as string,
      ]);
      expect(errors(app)).toEqual([]);
    },
  );

  it('that may not scan is told so once, and served on time for keys that are created', async (context) => {
    const { scene, start } = await open(context, '+@all -scan');
    const old = await scene.give(names(20, 'old'), paced(1_000));
    const app = await start();
    const fresh = await scene.give(
      names(50, 'new'),
      (i) => paced(1_500) + i * 5,
    );
    await app.hears(50);
    await app.fence();
    expect(app.check(fresh, 100)).toEqual(ALL_WELL);
    expect(app.handledLate(fresh).p50).toBeLessThan(paced(500));
    expect(warnings(app)).toEqual([
      expect.stringContaining('Grant PEXPIRETIME (or PTTL) and SCAN') as string,
    ]);
    expect(errors(app)).toEqual([]);

    // Nobody knows of these: they expire when somebody looks.
    expect(await scene.admin.dbsize()).toBe(20);
    await scene.admin.exists([...old.keys()]);
    await app.hears(70);
  });

  it.for([
    '+@all -pttl -pexpiretime',
    '+@all -scan',
    '+@all -pttl -pexpiretime -scan',
  ])(
    'with the rights "%s" asks in vain only a bounded number of times',
    async (rules, context) => {
      const { scene, start } = await open(
        context,
        rules,
        { activeExpire: true },
        { punctual: { scanInterval: 600_000 } },
      );
      await scene.give(names(3_000, 'far'), 3_600_000);
      const app = await start();
      await delay(500);
      const before = await scene.calls();
      const since = performance.now();
      // Eight keys a second, each once.
      for (let i = 0; i < 40; i++) {
        await scene.admin.set(`new:${i}`, '', 'EX', 3_600);
        await delay(125);
      }
      const after = await scene.calls();

      const asked = after.except(...OWN) - before.except(...OWN);
      console.log(`${rules}: ${asked} commands in 5 s, for 40 new keys`);
      expect(asked).toBeGreaterThanOrEqual(40);
      expect(asked).toBeLessThan(40 * 6 + (performance.now() - since) / 100);
      expect(errors(app)).toEqual([]);
    },
  );

  it('that loses the right to learn deadlines while keys are tracked does not ask for them in a loop', async (context) => {
    const { scene, start } = await open(context, '+@all');
    const deadlines = await scene.give(names(200), paced(5_000));
    const app = await start();
    expect(app.tracked).toBe(200);
    await scene.user('app', '-pttl', '-pexpiretime');
    await clockShows(Math.max(...deadlines.values()) + 100);
    const before = await scene.calls();
    const since = performance.now();
    await delay(3_000);
    const after = await scene.calls();
    const asked = after.except(...OWN) - before.except(...OWN);
    console.log(`PTTL revoked, 200 keys due: ${asked} commands in 3 s`);

    expect(app.app.state).toBe('listening');
    expect(warnings(app)).toHaveLength(1);
    // As often as they are looked at again by and by, and no more.
    expect(asked).toBeLessThan(
      (200 * (performance.now() - since)) / 1_000 + 50,
    );

    await scene.user('app', '+pttl', '+pexpiretime');
    await app.hears(200);
    expect(new Set(app.events.map(({ key }) => key)).size).toBe(200);
  });

  it('that may not write the key of the self-test, with the flag n hidden, is served all the same', async (context) => {
    const { scene, start } = await open(
      context,
      '+@all resetkeys %R~* ~app:*',
      { flags: 'AEn' },
      { notifications: 'ensure' },
    );
    const app = await start();
    expect(app.app.node.selfTest).toBe('unavailable');
    const deadlines = await scene.give(names(30), paced(1_500));
    await app.hears(30);
    await app.fence();

    // A script may be run on keys only by who may write them.
    expect(app.check(deadlines, 100)).toEqual(ALL_WELL);
    expect(await scene.flags()).toBe('AE');
  });
});
