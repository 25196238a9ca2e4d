import type { Redis } from 'ioredis';
import { type TestContext, describe, expect, it } from 'vitest';
import { ServerClock } from '../../support/clock/server-clock.js';
import {
  PunctualApp,
  give,
  names,
  openBed,
  startServer,
  until,
} from '../../support/punctual/scene.js';

/** How soon after Redis's clock made it due a key must be handled, in ms. */
const PROMPT = 4_000;

/** A server whose clock can be set; it expires keys when they are touched and not else. */
async function scene(context: TestContext) {
  const bed = openBed(context);
  const clock = await ServerClock.make(bed);
  const { server, admin } = await startServer(bed, {
    path: clock.path,
  });
  const app = async (group?: string): Promise<PunctualApp> => {
    const made = await PunctualApp.start(bed, admin, {
      connection: server.url,
      ...(group && { group, pattern: 'k:*' }),
    });
    await made.ready();
    return made;
  };
  return { clock, admin, app };
}

/** Resolves when the deadlines of so many keys are known. */
async function knows(
  app: PunctualApp,
  admin: Redis,
  group: string | undefined,
  count: number,
): Promise<void> {
  await until(
    async () =>
      (group ? await admin.zcard(`rx:{${group}}:index`) : app.tracked) ===
      count,
    () => `not ${count} keys are known`,
  );
}

// Each has a server of its own, and its own clock.
describe.concurrent.each([
  ['broadcast', undefined],
  ['a group', 'g'],
] as const)("a step of Redis's clock, in %s", (_, group) => {
  it.for([40_000, 571_000])(
    'forward by %i ms: what it makes due is handled at once, new keys too',
    async (step, context) => {
      const { clock, admin, app } = await scene(context);
      const made = await app(group);
      const { events } = made;
      const skipped = await give(admin, names(100, 'k:old'), (i) => step - i);
      const living = await give(admin, names(50, 'k:far'), step + 3_600_000);
      await knows(made, admin, group, 150);
      clock.step(step);
      const stepped = Date.now();
      const fresh = await give(admin, names(100, 'k:new'), (i) => 1_500 + i);
      await made.hears(200, 10_000);

      const late = events.map(({ heardAt }) => heardAt - stepped);
      expect(Math.max(...late)).toBeLessThan(1_600 + PROMPT);
      const known = new Map([...skipped, ...fresh]);
      expect(new Set(events.map(({ key }) => key))).toEqual(
        new Set(known.keys()),
      );
      expect(events).toHaveLength(200);
      const wrong = events.filter(
        ({ key, deadline }) =>
          deadline !== undefined && deadline.getTime() !== known.get(key),
      );
      expect(wrong).toEqual([]);
      // They live on, and nobody says otherwise.
      expect(await admin.exists(...living.keys())).toBe(50);
    },
  );

  it('back by 40 s: nothing is handled before it is due, and all is then', async (context) => {
    const { clock, admin, app } = await scene(context);
    const made = await app(group);
    const { events } = made;
    // Due after the step only.
    const old = await give(admin, names(100, 'k:old'), 5_000);
    await knows(made, admin, group, 100);
    clock.step(-40_000);
    const fresh = await give(admin, names(100, 'k:new'), (i) => 1_500 + i);
    await made.hears(100, 10_000);
    expect(new Set(events.map(({ key }) => key))).toEqual(
      new Set(fresh.keys()),
    );
    clock.step(40_000);
    await made.hears(200, 10_000);

    const known = new Map([...old, ...fresh]);
    expect(events).toHaveLength(200);
    expect(
      events.filter(
        ({ key, deadline }) =>
          deadline !== undefined && deadline.getTime() !== known.get(key),
      ),
    ).toEqual([]);
  });

  it('slewed by 8 %: all is handled when it is due', async (context) => {
    const { clock, admin, app } = await scene(context);
    const made = await app(group);
    const { events } = made;
    clock.slew(0.08);
    const first = await give(admin, names(100, 'k:a'), (i) => 1_000 + i * 20);
    await made.hears(100, 10_000);
    clock.slew(-0.08);
    const second = await give(admin, names(100, 'k:b'), (i) => 1_000 + i * 20);
    await made.hears(200, 10_000);

    const known = new Map([...first, ...second]);
    expect(events.filter((e) => !known.has(e.key))).toEqual([]);
    expect(events).toHaveLength(200);
  });
});
