import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type {
  RedisExpiryKeys,
  RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { eventually } from '../eventually.js';
import type { GroupScene } from '../group/scene.js';
import type { Fleet } from '../group/workers.js';
import { Random } from '../random.js';
import { ArmedLedger } from './armed-ledger.js';

/** Keys that live side by side. */
const AT_ONCE = 100;
const names = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `k:${from + i}`);

/** Arms so many keys of 50 to 500 ms: a third is renewed, a third is cancelled, some of them too late. */
async function armAll(
  ledger: ArmedLedger,
  count: number,
  random: Random,
): Promise<void> {
  const whole = (from: number, to: number): number =>
    from + random.below(Math.round(to - from));
  const live = async (key: string, n: number): Promise<void> => {
    const ttl = whole(50, 500);
    if (n % 10 === 0) await ledger.armMany([[key, ttl]]);
    else await ledger.arm(key, ttl);
    if (n % 3 === 0) return;
    await delay(whole(0, 1.05 * ttl));
    if (n % 3 === 1) await ledger.renew(key, whole(50, 500));
    else await ledger.cancel(key);
  };
  for (let from = 0; from < count; from += AT_ONCE) {
    const some = names(from, Math.min(AT_ONCE, count - from));
    await Promise.all(some.map((key, i) => live(key, from + i)));
  }
}

/** Kills every process of a group, and starts others, until something is over. Returns how often. */
async function killWhile(
  fleet: Fleet,
  size: number,
  work: Promise<unknown>,
  random: Random,
): Promise<number> {
  let isOver = false;
  void work.finally(() => (isOver = true)).catch(() => undefined);
  let kills = 0;
  while (!isOver) {
    await Promise.all(fleet.alive.map((worker) => worker.kill()));
    kills++;
    // Some do not live long enough to run, and some do for a while.
    const fresh = fleet.spawn(size);
    if (kills % 3 > 0)
      await eventually(() =>
        expect(isOver || fresh.some(({ alive }) => alive)).toBe(true),
      );
    await delay(200 + random.below(2_500));
  }
  return kills;
}

/** Resolves when nothing is lost, nothing was false, and the group has nothing left to do. */
async function expectAllHandedOver(
  { history, partitions }: GroupScene,
  ledger: ArmedLedger,
): Promise<void> {
  await eventually(
    async () => {
      const { lost } = ledger.check(history.handlings);
      expect(lost.slice(0, 5), `${lost.length} are lost`).toEqual([]);
      // A false event of a key that was cancelled would come at its deadline.
      expect(Date.now()).toBeGreaterThan(ledger.over + 1_000);
      const left = await partitions.sum(
        async (redis, { index, away, events, retry }) => {
          const sizes = [index, away, retry].map((name) => redis.zcard(name));
          const [a, b, c] = await Promise.all(sizes);
          return a! + b! + c! + (await redis.xlen(events));
        },
      );
      expect(left, 'entries and events that are left').toBe(0);
    },
    { interval: 100 },
  );
  expect(ledger.check(history.handlings)).toEqual({
    ...{ lost: [], false: [], twice: [] },
  });
}

/** What a run is made of. */
export interface KillRun {
  readonly keys: RedisExpiryKeys;
  readonly count: number;
  readonly module?: RedisExpiryModuleOptions;
}

/**
 * Arms keys while all processes of the group are killed again and again. Resolves when everything was handed over, and
 * with what was done.
 */
export async function armWhileKilling(
  scene: GroupScene,
  { keys, count, module = {} }: KillRun,
): Promise<{ kills: number; ledger: ArmedLedger }> {
  const ledger = new ArmedLedger(keys);
  const fleet = scene.fleet(
    { leaseDuration: 1_000, ...module },
    { work: [0, 5] },
  );
  const arming = armAll(ledger, count, new Random(11));
  const kills = await killWhile(fleet, 2, arming, new Random(12));
  await arming;
  await fleet.start(2);
  await expectAllHandedOver(scene, ledger);
  await Promise.all(fleet.alive.map((worker) => worker.stop()));
  console.log(
    `${kills} kills of all; ${JSON.stringify(ledger.counts)}, ${ledger.expected} handed over`,
  );
  expect(ledger.counts.armed).toBe(count);
  return { kills, ledger };
}
