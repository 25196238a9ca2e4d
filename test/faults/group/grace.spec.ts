import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { TestContext } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import type { Fleet, Worker } from '../../support/group/workers.js';
import { Random } from '../../support/random.js';

const inGrace = ({ redis }: GroupBed): Promise<number> =>
  redis.zcard('rx:{presence}:grace');

/** Kills one after the other, and starts another one for each, until the work is done. Resolves with how many. */
async function killWhile(
  fleet: Fleet,
  victims: () => Promise<readonly Worker[]>,
  work: Promise<unknown>,
): Promise<number> {
  const random = new Random(11);
  let isDone = false;
  const done = work.finally(() => (isDone = true));
  let killed = 0;
  const respawns: Promise<unknown>[] = [];
  while (!isDone) {
    await delay(1_200);
    const some = await victims();
    if (isDone || some.length === 0) continue;
    await random.pick(some).kill();
    killed++;
    respawns.push(fleet.start(1));
  }
  await Promise.all(respawns);
  await done;
  return killed;
}

/** At the deadlines and a little later: the keys in the order of their deadlines, a few at a time. */
async function follow(
  entries: readonly (readonly [string, number])[],
  after: number,
  act: (some: string[]) => Promise<unknown>,
): Promise<void> {
  const left = [...entries];
  while (left.length > 0) {
    const now = Date.now();
    const due: string[] = [];
    while (left[0] && left[0][1] + after <= now) due.push(left.shift()![0]);
    if (due.length > 0) await act(due);
    await delay(20);
  }
}

const inMs = (keys: readonly string[], ms: number): [string, number][] => {
  const deadline = Date.now() + ms;
  return keys.map((key) => [key, deadline]);
};

/** A group whose handlers have a grace and take their time. */
async function busy(context: TestContext, grace: number, count: number) {
  const group = await GroupBed.make(context);
  const fleet = group.fleet(
    { leaseDuration: 1_000 },
    { handler: { grace }, work: [5, 50] },
  );
  await fleet.start(count);
  return { group, fleet };
}

/** Nothing is missing, and nobody was told of that was back in time. */
async function settled(
  group: GroupBed,
  grace: number,
  killed: number,
): Promise<void> {
  await group.settles({ grace });
  const { handled, redelivered } = group.history.counts;
  console.log(
    `${killed} kills: ${handled} handled, ${redelivered} redelivered, ${group.history.late} back late`,
  );
}

describe('grace in a group', { timeout: 240_000 }, () => {
  it('tells those that stayed away, and nobody else, while whoever leads or not is killed', async (context) => {
    const grace = 3_000;
    const { group, fleet } = await busy(context, grace, 3);
    const away = spread(names('away', 1_500), 4_000, 24_000);
    const back = spread(names('back', 1_000), 4_000, 20_000);
    const stays = spread(names('stays', 500), 4_000, 20_000);
    await group.keys.set([...away, ...back, ...stays]);
    await group.knows(3_000);

    let turn = 0;
    const killed = await killWhile(
      fleet,
      // Somebody leads before the next one is killed: nobody knows what became of keys while nobody did.
      async () => {
        const leader = await fleet.leader();
        const others = fleet.alive.filter((worker) => worker !== leader);
        return turn++ % 3 === 1 ? [leader] : others;
      },
      Promise.all([
        // Long enough for the next leader to learn of them: what nobody heard of is lost in any case.
        follow(back, 700, (keys) =>
          group.keys.bringBack(inMs(keys, 15_000), grace),
        ),
        follow(stays, 700, (keys) => group.keys.bringBackForGood(keys, grace)),
        delay(28_000),
      ]),
    );
    await settled(group, grace, killed);
    expect(killed).toBeGreaterThan(0);
  });

  it('knows every return, however short, while those that handle are killed', async (context) => {
    const grace = 2_500;
    const { group, fleet } = await busy(context, grace, 1);
    const leader = await fleet.leader();
    await fleet.start(2);
    const away = spread(names('away', 1_000), 2_000, 20_000);
    const again = spread(names('again', 1_000), 2_000, 18_000);
    const deleted = spread(names('deleted', 1_000), 2_000, 18_000);
    await group.keys.set([...away, ...again, ...deleted]);
    await group.knows(3_000);

    const second: [string, number][] = [];
    const killed = await killWhile(
      fleet,
      async () => fleet.alive.filter((worker) => worker !== leader),
      Promise.all([
        // Back for half a second, away for half a second, and back for another.
        follow(again, 300, async (keys) => {
          const entries = inMs(keys, 500);
          second.push(...entries);
          await group.keys.bringBack(entries, grace);
        }),
        (async () => {
          await delay(2_000);
          const followed: string[] = [];
          while (followed.length < again.length) {
            const now = Date.now();
            const due = second.filter(([, deadline]) => deadline + 500 <= now);
            second.splice(0, due.length);
            const keys = due.map(([key]) => key);
            if (keys.length > 0)
              await group.keys.bringBack(inMs(keys, 500), grace);
            followed.push(...keys);
            await delay(20);
          }
        })(),
        // Back for half a second, and then deleted.
        follow(deleted, 300, async (keys) => {
          await group.keys.bringBackForGood(keys, grace);
          void delay(500).then(() => group.redis.call('DEL', ...keys));
        }),
        delay(23_000),
      ]),
    );
    await settled(group, grace, killed);
    expect(killed).toBeGreaterThan(0);
  });

  it('goes on in Redis while no instance lives', async (context) => {
    const grace = 6_000;
    const group = await GroupBed.make(context);
    const fleet = group.fleet({ leaseDuration: 1_000 }, { handler: { grace } });
    const workers = await fleet.start(2);
    const keys = names('k', 400);
    await group.keys.set(spread(keys, 1_500, 2_500));
    await eventually(async () => expect(await inGrace(group)).toBe(400));
    await Promise.all(workers.map((worker) => worker.kill()));
    expect(group.history.handlings).toEqual([]);

    await group.keys.bringBackForGood(keys.slice(0, 100), grace);
    expect(await inGrace(group)).toBe(400);
    await fleet.start(2);
    await group.settles({ grace });

    expect(group.history.counts).toEqual({ handled: 300, redelivered: 0 });
    for (const { attempt, deadline, lateness, at } of group.history.handlings) {
      expect(attempt).toBe(1);
      expect(lateness).toBeLessThan(at - deadline!);
    }
  });

  it('comes before the first try only', async (context) => {
    const grace = 8_000;
    const group = await GroupBed.make(context);
    const fleet = group.fleet({ leaseDuration: 300 }, { handler: { grace } });
    const [doomed] = await fleet.start(1, { dieBeforeAck: true });
    await group.keys.set(spread(['k'], 300, 300));
    await doomed!.gone();
    await fleet.start(1);
    await group.settles({ grace });

    const [first, second, ...more] = group.history.handlings;
    expect([first!.attempt, second!.attempt]).toEqual([1, 2]);
    expect(second).toMatchObject({ id: first!.id, deadline: first!.deadline });
    expect(await inGrace(group)).toBe(0);
    expect(more).toEqual([]);
  });
});
