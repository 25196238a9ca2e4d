import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';

const HOUR_MS = 3_600_000;

/** The connections on which some instance waits for events. */
async function readers({ redis }: GroupBed): Promise<string[]> {
  const list = (await redis.call('CLIENT', 'LIST')) as string;
  return list
    .split('\n')
    .filter((line) => / cmd=xreadgroup /.test(line) && / flags=\S*b/.test(line))
    .map((line) => /^id=(\d+)/.exec(line)![1]!);
}

/** How many events are with a process. */
async function pendingOf({ redis }: GroupBed, pid: number): Promise<number> {
  const [, , , consumers] = (await redis.call(
    ...(['XPENDING', 'rx:{presence}:events', 'presence'] as const),
  )) as [number, string, string, [name: string, count: string][]];
  const own = consumers.find(([name]) => name.includes(`:${pid}:`));
  return Number(own?.[1]);
}

const attemptsOf = ({ history }: GroupBed, key: string): number[] =>
  history.handlings.filter((h) => h.key === key).map((h) => h.attempt);

describe('a try of an event', () => {
  it(
    'is a run of its handler, not a reading of it over a new connection',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet({ leaseDuration: 500 });
      const [doomed] = await fleet.start(1, { work: [HOUR_MS, HOUR_MS] });
      await group.keys.set(spread(['k'], 100, 100));
      await eventually(() => expect(attemptsOf(group, 'k')).toEqual([1]));

      let killed = '';
      /** Resolves when the instance waits for events over a new connection: then it has read again what it has. */
      const reader = () =>
        eventually(async () => {
          const [id] = await readers(group);
          expect([undefined, killed]).not.toContain(id);
          return id!;
        });
      for (let i = 0; i < 6; i++) {
        killed = await reader();
        await group.redis.call('CLIENT', 'KILL', 'ID', killed);
      }
      await reader();
      expect(attemptsOf(group, 'k')).toEqual([1]);
      await doomed!.kill();
      await fleet.start(1);
      await group.settles();

      expect(attemptsOf(group, 'k')).toEqual([1, 2]);
    },
  );

  it(
    'is counted where it kills its process, and where another instance only passes the event on',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const module = { leaseDuration: 200, retry: { attempts: 3 } };
      const fleet = group.fleet(module);
      // It has no handler for the key: what the dead leave behind is of no use to it.
      await fleet.start(1, { pattern: 'other*' });
      const deadly = { pattern: 'k*', alwaysDie: true };
      const [first] = await fleet.start(1, deadly);
      await group.keys.set(spread(['k'], 300, 300));
      await first!.gone();
      for (let attempt = 2; attempt <= 3; attempt++) {
        const [next] = fleet.spawn(1, deadly);
        await next!.gone();
      }
      await fleet.start(1, { pattern: 'k*' });
      await eventually(async () =>
        expect(await group.redis.xlen('rx:{presence}:dead')).toBe(1),
      );

      expect(attemptsOf(group, 'k')).toEqual([1, 2, 3]);
      expect(await group.redis.exists('rx:{presence}:runs')).toBe(0);
    },
  );

  it(
    'kills the process at once, and takes no other event with it',
    { timeout: 90_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const module = { leaseDuration: 200, retry: { attempts: 3 } };
      const fleet = group.fleet(module, { dieOver: 'a' });
      // All begin together, and the first one is the last thing that its process does.
      const others = names('k', 20);
      const [first] = await fleet.start(1);
      await group.keys.set(spread(['a', ...others], 500, 500));
      await first!.gone();
      for (let attempt = 2; attempt <= 3; attempt++) {
        const [next] = fleet.spawn(1);
        await next!.gone();
      }
      await fleet.start(1);
      await eventually(
        async () =>
          expect(await group.redis.xlen('rx:{presence}:events')).toBe(0),
        { timeout: 20_000 },
      );

      expect(attemptsOf(group, 'a')).toEqual([1, 2, 3]);
      expect(await group.redis.xlen('rx:{presence}:dead')).toBe(1);
      // One that ended and was not acknowledged when the process died ends once more.
      const ended = group.history.handlings.filter((h) => h.ended);
      const keys = new Set(ended.map(({ key }) => key));
      expect([...keys].toSorted()).toEqual(others.toSorted());
    },
  );

  it(
    'is no waiting for a handler, however many processes it waited in when they died',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const module = { leaseDuration: 300, retry: { attempts: 2 } };
      const slow = { work: [HOUR_MS, HOUR_MS] as const };
      const fleet = group.fleet(module, { handler: { concurrency: 1 } });
      const keys = names('k', 20);
      // Each of them runs one, and has the others waiting for it.
      for (let i = 1; i <= 3; i++) {
        const [doomed] = await fleet.start(1, slow);
        if (i === 1) await group.keys.set(spread(keys, 300, 300));
        await eventually(async () => {
          expect(group.history.handlings).toHaveLength(i);
          const left = await group.redis.xlen('rx:{presence}:events');
          expect(left).toBeGreaterThan(17);
          expect(await pendingOf(group, doomed!.pid)).toBe(left);
        });
        await doomed!.kill();
      }
      await fleet.start(1);
      await eventually(async () => {
        expect(await group.redis.xlen('rx:{presence}:events')).toBe(0);
      });

      // Three runs were cut short. Nothing else counts, and nothing is given up that was not run twice.
      const { handlings } = group.history;
      expect(handlings.filter(({ ended }) => !ended)).toHaveLength(3);
      const dead = keys.filter(
        (key) => !handlings.some((h) => h.key === key && h.ended),
      );
      expect(await group.redis.xlen('rx:{presence}:dead')).toBe(dead.length);
      for (const key of keys) {
        const attempts = attemptsOf(group, key);
        expect(attempts).toEqual(attempts.map((_, i) => i + 1));
        expect(attempts.length).toBeGreaterThanOrEqual(
          dead.includes(key) ? 2 : 1,
        );
      }
      expect(handlings).toHaveLength(3 + keys.length - dead.length);
    },
  );
});
