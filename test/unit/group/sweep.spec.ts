import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { Evidence } from '../../../lib/group/evidence.js';
import { Sweep } from '../../../lib/group/sweep.js';
import { Term } from '../../../lib/group/term.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import {
  ObservedIndex,
  eventsOf,
  lapsed,
} from '../../support/group/judging.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { type TestServer, onEveryServer } from '../../support/servers.js';

const K = Buffer.from('k');
const MINUTE = 60_000;

/** A sweep that hears, by the barrier at the latest, what the test announces. */
async function sweepOn(server: TestServer) {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  await server.redis.set(KEYS.lease, 'token');
  const index = new ObservedIndex(commands, KEYS, new Term('token'));
  const evidence = new Evidence();
  const announcements: Buffer[] = [];
  const [settled, later]: [string[], number[]] = [[], []];
  const counters = newCounters();
  const hooks = { barrier: () => Promise.resolve() };
  const sweep = new Sweep({
    index,
    commands,
    clock: new RedisClock(),
    evidence,
    counters,
    barrier: async () => {
      await hooks.barrier();
      for (const key of announcements.splice(0))
        evidence.announce(key.toString('latin1'));
    },
    onSettled: (keys) => settled.push(...keys),
    onLater: (soonest) => later.push(soonest),
  });
  const parts = {
    commands,
    sweep,
    index,
    evidence,
    announcements,
    counters,
    hooks,
  };
  return { ...parts, settled, later };
}

/** As a judge does it. */
async function look(sweep: Sweep, keys: readonly Buffer[]): Promise<void> {
  await sweep.prepare();
  await sweep.look(keys);
}

const closed = (): Promise<never> =>
  Promise.reject(new Error('the connection closed'));

onEveryServer(
  'Sweep',
  (server) => {
    // Only what is looked at expires.
    beforeEach(() => server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0'));

    it('finds of each key what became of it, and settles that at once', async () => {
      const { redis } = server;
      const { sweep, index, evidence, announcements, settled, later } =
        await sweepOn(server);
      const at = await lapsed(redis, 'removed');
      const [soon, far] = [Date.now() + MINUTE, Date.now() + 2 * MINUTE];
      await redis.set('renewed', '1', 'PXAT', far);
      await redis.set('found', '1', 'PXAT', soon);
      await redis.set('lasting', '1');
      const indexed = ['removed', 'announced', 'late', 'deleted', 'renewed'];
      await index.enrol(
        [...indexed, 'lasting'].map((name) => ({ key: Buffer.from(name), at })),
      );
      await index.enrol([{ key: Buffer.from('ahead'), at: far }]);
      for (const name of ['announced', 'ahead', 'unknown', 'renewed'])
        evidence.announce(name);
      announcements.push(Buffer.from('late'));
      const names = [...indexed, 'lasting', 'ahead', 'found', 'unknown', 'no'];

      await look(
        sweep,
        names.map((name) => Buffer.from(name)),
      );

      const events = await eventsOf(server);
      expect(
        events.map(({ redisKey, deadline }) => [redisKey.toString(), deadline]),
      ).toEqual([
        ['removed', at],
        ['announced', at],
        // Gone before its deadline came: somebody shortened it.
        ['ahead', undefined],
        ['unknown', undefined],
        ['late', at],
      ]);
      const scores = await index.scores(
        [...names, 'found'].map((name) => Buffer.from(name)),
      );
      const known = names.filter((_, i) => scores[i] !== undefined);
      expect(known).toEqual(['renewed', 'found']);
      for (const [name, deadline] of [
        ['renewed', far],
        ['found', soon],
      ] as const)
        expect(
          Math.abs(scores[names.indexOf(name)]! - deadline),
        ).toBeLessThanOrEqual(2);
      expect(Math.abs(Math.min(...later) - soon)).toBeLessThanOrEqual(2);
      expect(settled.toSorted()).toEqual([
        ...['ahead', 'announced', 'late', 'renewed', 'unknown'],
      ]);
      expect(evidence.isProven('announced')).toBe(false);
    });

    it('counts as superseded what was announced and lives', async () => {
      const { sweep, index, evidence, counters } = await sweepOn(server);
      await server.redis.set('k', '1', 'EX', 60);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');

      await look(sweep, [K]);
      await look(sweep, [K]);

      expect(counters).toMatchObject({ received: 1, superseded: 1 });
      expect(await eventsOf(server)).toEqual([]);
    });

    it('goes on looking at a key that is written again right after it expired', async () => {
      const { sweep, index } = await sweepOn(server);
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);
      // The first to run once the look has ended: there is no moment between that and the settling.
      index.after = async () => {
        await server.redis.set('k', '2', 'EX', 60);
        await index.enrol([{ key: K, at: at + MINUTE }]);
      };

      await look(sweep, [K]);

      expect(await eventsOf(server)).toHaveLength(1);
      expect(await index.scores([K])).toEqual([at + MINUTE]);
    });

    it('does what was done and not answered once, and takes note of it', async () => {
      const { sweep, index, evidence, settled } = await sweepOn(server);
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);
      evidence.announce('unknown');
      index.after = closed;
      const keys = [K, Buffer.from('unknown')];
      await expect(look(sweep, keys)).rejects.toThrow('closed');
      index.after = () => Promise.resolve();
      // The announcement of the look.
      evidence.announce('k');

      await look(sweep, keys);

      expect(await eventsOf(server)).toHaveLength(2);
      expect(settled.toSorted()).toEqual(['k', 'unknown']);
      expect(evidence.isProven('k')).toBe(false);
      expect(evidence.isProven('unknown')).toBe(false);
    });

    it('does so too beside a key that lives until the end of all dates', async () => {
      const { sweep, index, evidence } = await sweepOn(server);
      await server.redis.set('far', '1', 'PXAT', Date.UTC(9999, 11, 31));
      evidence.announce('k');
      index.after = closed;
      const keys = [K, Buffer.from('far')];
      await expect(look(sweep, keys)).rejects.toThrow('closed');
      index.after = () => Promise.resolve();

      await sweep.prepare();

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('sends nothing that would wait for a connection', async () => {
      const { commands, sweep, index, evidence } = await sweepOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');
      await sweep.prepare();
      commands.release();

      await expect(sweep.look([K])).rejects.toThrow('no connection');

      await sweep.prepare();
      expect(await eventsOf(server)).toEqual([]);
      await sweep.look([K]);
      expect(await eventsOf(server)).toHaveLength(1);
    });

    it("sends again what was refused, for that may have been another one's answer", async () => {
      const { sweep, index, evidence } = await sweepOn(server);
      evidence.announce('k');
      index.after = () =>
        Promise.reject(
          Object.assign(new Error('READONLY'), { name: 'ReplyError' }),
        );
      await expect(look(sweep, [K])).rejects.toThrow('READONLY');
      index.after = () => Promise.resolve();

      await look(sweep, [K]);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('sends again what Redis never got', async () => {
      const { sweep, index, evidence } = await sweepOn(server);
      evidence.announce('k');
      index.before = closed;
      await expect(look(sweep, [K])).rejects.toThrow('closed');
      index.before = () => Promise.resolve();

      await sweep.prepare();

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('does not take a key for deleted by what it knew before the connection broke', async () => {
      const { sweep, index, evidence, hooks } = await sweepOn(server);
      const { redis } = server;
      await index.enrol([{ key: K, at: 5 }]);
      // What it says second, that the key was deleted, does not reach Redis…
      hooks.barrier = () => {
        index.before = closed;
        return Promise.resolve();
      };
      await expect(look(sweep, [K])).rejects.toThrow('closed');
      hooks.barrier = index.before = () => Promise.resolve();
      // …and is not true any more: it was written again, and expired.
      await lapsed(redis, 'k');
      await redis.exists('k');

      await sweep.prepare();
      expect(await index.scores([K])).toEqual([5]);
      evidence.announce('k');
      await look(sweep, [K]);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('drops what was not answered once listening was lost, for good: the index tells what was done', async () => {
      const { commands, sweep, index, evidence } = await sweepOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');
      const asked = vi.spyOn(index, 'sweep');
      index.before = closed;
      await expect(look(sweep, [K])).rejects.toThrow('closed');
      index.before = () => Promise.resolve();
      evidence.forget();

      await sweep.prepare();

      // It comes after all.
      const [, lost] = asked.mock.calls[0]!;
      await expect(index.sweep(commands, lost)).rejects.toThrow('STALE');
      expect(await eventsOf(server)).toEqual([]);
      expect(await index.scores([K])).toEqual([5]);
    });

    it('settles nothing by a look from before listening was lost', async () => {
      const { sweep, index, evidence, hooks } = await sweepOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      hooks.barrier = () => Promise.resolve(evidence.forget());

      await expect(look(sweep, [K])).rejects.toThrow('listening was lost');

      expect(await index.scores([K])).toEqual([5]);
    });

    it("touches nothing where the lease is another one's", async () => {
      const { sweep, index, evidence } = await sweepOn(server);
      const { redis } = server;
      const at = await lapsed(redis, 'k');
      await index.enrol([{ key: K, at }]);
      await redis.set(KEYS.lease, 'another');

      await expect(look(sweep, [K])).rejects.toThrow(/^LEASE lost/);

      // The index, the lease, and the key, which nobody looked at.
      expect(await redis.dbsize()).toBe(3);
      await redis.set(KEYS.lease, 'token');
      await look(sweep, [K]);
      expect(await eventsOf(server)).toHaveLength(1);
      expect(evidence.expects('k')).toBe(true);
    });

    it('says so where a server out of memory does not keep older requests out', async () => {
      const { commands, index } = await sweepOn(server);
      const { redis } = server;
      const old = index.sweepRequest([K], 'e');
      const none = index.sweepRequest([], '');
      await redis.config('SET', 'maxmemory', '1');
      onTestFinished(() => void redis.config('SET', 'maxmemory', '0'));

      await expect(index.sweep(commands, none)).rejects.toThrow('OOM');
      // What writes nothing but the note is done all the same.
      const asked = index.sweepRequest([K], '-');
      expect((await index.sweep(commands, asked)).codes).toBe('n');

      await redis.config('SET', 'maxmemory', '0');
      await index.sweep(commands, none);
      await expect(index.sweep(commands, old)).rejects.toThrow('STALE');
    });

    it('is not heard with a request that is older than the newest', async () => {
      const { index } = await sweepOn(server);
      const commands = commandsOn(server);
      onTestFinished(() => commands.close());
      const old = index.sweepRequest([K], 'e');
      const next = index.sweepRequest([K], '-');
      expect((await index.sweep(commands, next)).codes).toBe('n');

      await expect(index.sweep(commands, old)).rejects.toThrow('STALE');

      expect(await eventsOf(server)).toEqual([]);
    });
  },
  { args: ['--enable-debug-command', 'yes'] },
);
