import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { paced } from '../../support/paced.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { Random } from '../../support/random.js';

describe('the processes of a group', () => {
  it(
    'share 10,000 expiries, and handle each exactly once',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet();
      await fleet.start(3);

      await group.keys.set(spread(names('k', 10_000), 1_000, 6_000));
      await group.settles({ lateness: 20_000 });

      expect(group.history.counts).toEqual({ handled: 10_000, redelivered: 0 });
      const shares = [...group.history.byProcess.values()];
      console.log(`3 processes: ${shares.join(', ')} of 10,000`);
      expect(shares).toHaveLength(3);
      expect(Math.min(...shares)).toBeGreaterThanOrEqual(2_000);
      expect(await group.tracked()).toBe(0);
    },
  );

  it(
    'lose nothing while one after the other is killed',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet({ leaseDuration: 1_000 }, { work: [5, 50] });
      await fleet.start(3);
      const random = new Random(7);
      const all = names('k', 6_000);
      // Known before their deadlines, as the guarantee asks: set ahead of time.
      await group.keys.set(spread(all.slice(0, 4_000), 3_000, 30_000));
      await group.knows(4_000);
      await group.keys.set(spread(all.slice(4_000), 32_000, 34_000));
      const doomed = spread(names('deleted', 1_000), 40_000, 42_000);
      await group.keys.set(doomed);
      await group.knows(7_000);

      const until = Date.now() + 30_000;
      let killed = 0;
      const respawns: Promise<unknown>[] = [];
      while (Date.now() < until) {
        await delay(1_500);
        // Deleted long before their deadlines, by whoever leads or not.
        const some = doomed.splice(-30).map(([key]) => key);
        await group.keys.delete(some);
        if (fleet.alive.length === 0) continue;
        const victim = random.pick(fleet.alive);
        await victim.kill();
        killed++;
        respawns.push(fleet.start(1));
      }
      await Promise.all(respawns);
      await group.settles();

      const { handled, redelivered } = group.history.counts;
      console.log(
        `${killed} kills in 30 s: ${handled} handled, ${redelivered} redelivered`,
      );
      expect(killed).toBeGreaterThan(0);
      expect(handled).toBe(group.history.expected);
    },
  );

  it('redeliver what one had handled and not acknowledged when it was killed', async (context) => {
    const group = await GroupBed.make(context);
    const fleet = group.fleet({ leaseDuration: 1_000 });
    const [doomed] = await fleet.start(1, { dieBeforeAck: true });
    await group.keys.set(spread(['k'], 300, 300));
    await doomed!.gone();
    expect(group.history.handlings).toMatchObject([
      { attempt: 1, ended: true },
    ]);

    await fleet.start(1);
    await group.settles();

    const [first, second, ...more] = group.history.handlings;
    expect(second).toMatchObject({ attempt: 2, id: first!.id, ended: true });
    expect(second!.deadline).toBe(first!.deadline);
    expect(more).toEqual([]);
  });

  it(
    'give up an event that kills every process that takes it',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const module = { leaseDuration: 200, retry: { attempts: 3 } };
      const fleet = group.fleet(module, { alwaysDie: true });
      // The first process must know the key before it runs out.
      const lead = paced(5_000);
      await group.keys.set(spread(['k'], lead, lead));
      for (let attempt = 1; attempt <= 3; attempt++) {
        const [doomed] = fleet.spawn(1);
        await doomed!.gone();
        expect(group.history.handlings).toHaveLength(attempt);
      }
      await fleet.start(1);
      await eventually(async () =>
        expect(await group.redis.xlen('rx:{presence}:dead')).toBe(1),
      );

      expect(group.history.handlings.map(({ attempt }) => attempt)).toEqual([
        1, 2, 3,
      ]);
      expect(new Set(group.history.handlings.map(({ id }) => id)).size).toBe(1);
      expect(fleet.alive).toHaveLength(1);
      expect(await group.redis.xlen('rx:{presence}:events')).toBe(0);
    },
  );

  it(
    'lose and repeat nothing in a rolling restart',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet({}, { work: [5, 50] });
      await fleet.start(3);
      await group.keys.set(spread(names('k', 3_000), 1_000, 9_000));

      for (const worker of [...fleet.workers]) {
        await fleet.start(1);
        await worker.stop();
      }
      await group.settles({ lateness: 20_000 });

      expect(fleet.started).toBe(6);
      expect(group.history.counts).toEqual({ handled: 3_000, redelivered: 0 });
    },
  );

  it(
    'are not harmed by a holder that sleeps and wakes',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet({ leaseDuration: 1_000 }, { work: [1, 10] });
      await fleet.start(3);
      await group.keys.set(spread(names('k', 2_000), 1_500, 16_000));
      const doomed = names('deleted', 500);
      // Beyond the time in which nobody may lead.
      await group.keys.set(spread(doomed, 12_000, 16_000));
      await group.knows(2_500);
      const holder = await fleet.leader();
      holder.signal('SIGSTOP');
      await delay(3_000);
      // Created, changed and deleted under the next holder.
      await group.keys.delete(doomed);
      await group.keys.set(spread(names('new', 500), 500, 12_000));
      await delay(7_000);
      holder.signal('SIGCONT');
      await group.settles();

      expect(group.history.counts.handled).toBe(2_500);
      const { groups } = await holder.status();
      expect(groups[0]!.leads).toBe(false);
      // What waited for its handler in the one that slept was taken over; it may have run there too.
      expect(group.history.counts.redelivered).toBeLessThan(500);
    },
  );
});
