import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { Random } from '../../support/random.js';

/** The keys of these tests outlive them, so that no warning may be left out. */
const BEFORE = 300_000;

/** Ms to the warnings of keys that are renewed. */
const SOON_MS = [2_000, 3_000, 4_500, 6_000];

/** Writes keys that are to be warned of at these moments, in epoch ms. */
async function approach(
  { redis, history }: GroupBed,
  warnings: readonly (readonly [key: string, at: number])[],
): Promise<void> {
  const pipeline = redis.pipeline();
  for (const [key, at] of warnings) {
    history.set(key, at);
    pipeline.set(key, '1', 'PXAT', at + BEFORE);
  }
  await pipeline.exec();
}

/** How many keys are known to have more time left. */
const ahead = ({ redis }: GroupBed): Promise<number> =>
  redis.zcard(`rx:{presence}:warn:${BEFORE}:ahead`);

describe('the warnings of a group', () => {
  it(
    'are lost by no kill, and made twice by none: also of keys that are renewed after their warning',
    { timeout: 240_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const { redis, history } = group;
      const fleet = group.fleet(
        { leaseDuration: 1_000, renewals: 'heard' },
        { before: BEFORE, work: [0, 20] },
      );
      await fleet.start(3);
      const random = new Random(7);
      const once = spread(names('once', 2_000), 4_000, 26_000);
      const again = spread(names('again', 1_000), 4_000, 12_000);
      const doomed = spread(names('doomed', 1_000), 30_000, 32_000);
      await approach(group, [...once, ...again, ...doomed]);
      await eventually(async () => expect(await ahead(group)).toBe(4_000));

      const until = Date.now() + 28_000;
      let killed = 0;
      let renewed = 0;
      const respawns: Promise<unknown>[] = [];
      while (Date.now() < until) {
        await delay(1_200);
        // Renewed after their warning was due, and warned of once more by their new deadline.
        const handled = new Set(
          history.handlings.flatMap(({ key, ended }) => (ended ? key : [])),
        );
        const due = again.filter(
          ([key, at]) => at < Date.now() - 3_000 && handled.has(key),
        );
        for (const entry of due) again.splice(again.indexOf(entry), 1);
        renewed += due.length;
        await approach(
          group,
          due.map(([key]) => [key, Date.now() + random.pick(SOON_MS)]),
        );
        const gone = doomed.splice(-30).map(([key]) => key);
        if (gone.length > 0) await redis.del(...gone);
        for (const key of gone) history.ended(key);
        if (fleet.alive.length === 0) continue;
        await random.pick(fleet.alive).kill();
        killed++;
        respawns.push(fleet.start(1));
      }
      await Promise.all(respawns);
      await group.settles();

      const { handled, redelivered } = history.counts;
      console.log(
        `${killed} kills: ${handled} warnings, ${renewed} of them after a renewal, ${redelivered} redelivered`,
      );
      expect(handled).toBe(history.expected);
      expect(await ahead(group)).toBe(0);
    },
  );

  it('that were due while no process ran come late, as recovered', async (context) => {
    const group = await GroupBed.make(context);
    const { history } = group;
    const fleet = group.fleet({ leaseDuration: 1_000 }, { before: BEFORE });
    await fleet.start(2);
    await approach(group, spread(names('k', 200), 4_000, 5_000));
    await eventually(async () => expect(await ahead(group)).toBe(200));
    await Promise.all(fleet.alive.map((worker) => worker.kill()));
    await delay(history.lastDeadline - Date.now() + 50);
    // Nobody is to be told of a key that is gone by then.
    await group.redis.del('k7');
    history.ended('k7');

    await fleet.start(1);
    await group.settles();

    expect(history.counts).toEqual({ handled: 199, redelivered: 0 });
    expect(new Set(history.handlings.map(({ source }) => source))).toEqual(
      new Set(['recovery']),
    );
  });
});
