import { beforeEach, expect, it, onTestFinished } from 'vitest';
import {
  askAgain,
  closed,
  eventsOf,
  judgeOn,
  lapsed,
} from '../../support/group/judging.js';
import { KEYS } from '../../support/group/parts.js';
import { onEveryServer } from '../../support/servers.js';

const K = Buffer.from('k');
const MINUTE = 60_000;

onEveryServer(
  'Judge and SWEEP',
  (server) => {
    // Only what is looked at expires.
    beforeEach(() => server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0'));

    it('finds of each key what became of it, and settles that at once', async () => {
      const { redis } = server;
      const { judge, index, evidence, announcements, settled, later } =
        await judgeOn(server);
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

      await judge.judge(names.map((name) => Buffer.from(name)));

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

    it('tells the index of keys that all live when each runs out, whatever it said', async () => {
      const { redis } = server;
      const { judge, index } = await judgeOn(server);
      const at = Date.now() + 2 * MINUTE;
      const said: Record<string, number> = {
        ...{ due: Date.now() - 1_000, sooner: at - MINUTE },
        ...{ marked: at - 0.5, exact: at, later: at + MINUTE },
      };
      for (const [name, score] of Object.entries(said))
        await redis.zadd(KEYS.index, score, name);
      const keys = [...Object.keys(said), 'unknown'].map((n) => Buffer.from(n));
      for (const key of keys) await redis.set(key, '1', 'PXAT', at);

      await judge.judge(keys);

      for (const score of await index.scores(keys))
        expect(Math.abs(score! - at)).toBeLessThanOrEqual(2);
      expect(await index.size()).toBe(keys.length);
      expect(await eventsOf(server)).toEqual([]);
    });

    it('takes what ran out while nobody listened for expired, by its recorded deadline', async () => {
      const { redis } = server;
      const { judge, index, evidence, announcements, node } =
        await judgeOn(server);
      const removed = await lapsed(redis, 'removed');
      const [from, to, ahead] = [removed - 2_000, removed, removed + MINUTE];
      node.gaps.begin(from);
      node.gaps.end(to);
      await redis.set('alive', '1', 'PXAT', ahead);
      const deadlines: Record<string, number> = {
        ...{ removed, from, to, alive: from },
        // Not in the gap: before it, and not due yet.
        ...{ before: from - 1, ahead },
        ...{ announced: from, late: from },
      };
      const names = Object.keys(deadlines);
      await index.enrol(
        names.map((name) => ({ key: Buffer.from(name), at: deadlines[name]! })),
      );
      evidence.announce('announced');
      announcements.push(Buffer.from('late'));

      await judge.judge(names.map((name) => Buffer.from(name)));
      // What a look found is not found once more.
      await judge.judge(names.map((name) => Buffer.from(name)));

      const events = await eventsOf(server);
      expect(
        Object.fromEntries(
          events.map(({ redisKey, deadline, source }) => [
            redisKey.toString(),
            `${source} ${deadline}`,
          ]),
        ),
      ).toEqual({
        removed: `recovery ${removed}`,
        from: `recovery ${from}`,
        to: `recovery ${to}`,
        announced: `recovery ${from}`,
        late: `recovery ${from}`,
      });
      expect(events).toHaveLength(5);
      expect(await index.size()).toBe(1);
    });

    it('tells by the looks before the deadlines, where a server announces nothing, what was deleted', async () => {
      const { judge, index, node, hooks } = await judgeOn(server);
      const at = Date.now() - MINUTE;
      node.gaps.begin(at - MINUTE);
      node.isSilent = true;
      node.previewedAfter = at;
      // It cannot be asked whether it announced everything; it announces nothing anyway.
      hooks.barrier = closed;
      const deadlines = { missed: at, timely: at + 1, ahead: at + 2 * MINUTE };
      const entries = Object.entries(deadlines).map(([name, deadline]) => ({
        ...{ key: Buffer.from(name), at: deadline },
      }));
      await index.enrol(entries);

      await judge.judgeDue(entries);

      expect(await eventsOf(server)).toMatchObject([
        { redisKey: Buffer.from('missed'), deadline: at, source: 'recovery' },
        {
          ...{ redisKey: Buffer.from('timely'), deadline: at + 1 },
          source: 'notification',
        },
      ]);
      expect(await index.size()).toBe(0);
    });

    it('lets go of keys that live and that nobody asks for any more, among others', async () => {
      const { judge, index, node, later } = await judgeOn(server);
      const { redis } = server;
      const names = ['unwanted', 'unknown', 'wanted'];
      const keys = names.map((name) => Buffer.from(name));
      for (const name of names) await redis.set(name, '1', 'EX', 60);
      await index.enrol([
        { key: keys[0]!, at: 5 },
        { key: keys[2]!, at: 5 },
      ]);
      node.unwanted = ['unwanted', 'unknown'];

      await judge.judge(keys);

      const scores = await index.scores(keys);
      expect(scores.map((score) => score !== undefined)).toEqual([
        ...[false, false, true],
      ]);
      expect(later).toEqual([scores[2]]);
    });

    it('counts as superseded what was announced and lives', async () => {
      const { judge, index, evidence, counters } = await judgeOn(server);
      await server.redis.set('k', '1', 'EX', 60);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');

      await judge.judge([K]);
      await judge.judge([K]);

      expect(counters).toMatchObject({ received: 1, superseded: 1 });
      expect(await eventsOf(server)).toEqual([]);
    });

    it('goes on looking at a key that is written again right after it expired', async () => {
      const { judge, index } = await judgeOn(server);
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);
      // The first to run once the look has ended: there is no moment between that and the settling.
      index.after = async () => {
        await server.redis.set('k', '2', 'EX', 60);
        await index.enrol([{ key: K, at: at + MINUTE }]);
      };

      await judge.judge([K]);

      expect(await eventsOf(server)).toHaveLength(1);
      expect(await index.scores([K])).toEqual([at + MINUTE]);
    });

    it('does what was done and not answered once, and takes note of it', async () => {
      const { judge, index, evidence, settled } = await judgeOn(server);
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);
      evidence.announce('unknown');
      index.after = closed;
      const keys = [K, Buffer.from('unknown')];
      await expect(judge.judge(keys)).rejects.toThrow('closed');
      index.after = () => Promise.resolve();
      // The announcement of the look.
      evidence.announce('k');

      await judge.judge(keys);

      expect(await eventsOf(server)).toHaveLength(2);
      expect(settled.toSorted()).toEqual(['k', 'unknown']);
      expect(evidence.isProven('k')).toBe(false);
      expect(evidence.isProven('unknown')).toBe(false);
    });

    it('does so too beside a key that lives until the end of all dates', async () => {
      const { judge, index, evidence } = await judgeOn(server);
      await server.redis.set('far', '1', 'PXAT', Date.UTC(9999, 11, 31));
      evidence.announce('k');
      index.after = closed;
      const keys = [K, Buffer.from('far')];
      await expect(judge.judge(keys)).rejects.toThrow('closed');
      index.after = () => Promise.resolve();

      await askAgain(judge);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('sends nothing that would wait for a connection', async () => {
      const { commands, sweep, index, evidence } = await judgeOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');
      await sweep.prepare();
      commands.release();

      await expect(sweep.find([K])).rejects.toThrow('no connection');

      await sweep.prepare();
      expect(await eventsOf(server)).toEqual([]);
      await sweep.find([K]);
      expect(await eventsOf(server)).toHaveLength(1);
    });

    it("sends again what was refused, for that may have been another one's answer", async () => {
      const { judge, index, evidence } = await judgeOn(server);
      evidence.announce('k');
      index.after = () =>
        Promise.reject(
          Object.assign(new Error('READONLY'), { name: 'ReplyError' }),
        );
      await expect(judge.judge([K])).rejects.toThrow('READONLY');
      index.after = () => Promise.resolve();

      await judge.judge([K]);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('sends again what Redis never got', async () => {
      const { judge, index, evidence } = await judgeOn(server);
      evidence.announce('k');
      index.before = closed;
      await expect(judge.judge([K])).rejects.toThrow('closed');
      index.before = () => Promise.resolve();

      await askAgain(judge);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('does not take a key for deleted by what it knew before the connection broke', async () => {
      const { judge, index, evidence, hooks } = await judgeOn(server);
      const { redis } = server;
      await index.enrol([{ key: K, at: 5 }]);
      // What it says second, that the key was deleted, does not reach Redis…
      hooks.barrier = () => {
        index.before = closed;
        return Promise.resolve();
      };
      await expect(judge.judge([K])).rejects.toThrow('closed');
      hooks.barrier = index.before = () => Promise.resolve();
      // …and is not true any more: it was written again, and expired.
      await lapsed(redis, 'k');
      await redis.exists('k');

      await askAgain(judge);
      expect(await index.scores([K])).toEqual([5]);
      evidence.announce('k');
      await judge.judge([K]);

      expect(await eventsOf(server)).toHaveLength(1);
    });

    it('drops what was not answered once listening was lost, for good: the index tells what was done', async () => {
      const { judge, send, index, evidence } = await judgeOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      evidence.announce('k');
      index.before = closed;
      await expect(judge.judge([K])).rejects.toThrow('closed');
      index.before = () => Promise.resolve();
      evidence.forget();

      await askAgain(judge);

      // It comes after all.
      const lost = send(1, { keys: [K], known: 'e' });
      await expect(lost).rejects.toThrow('STALE');
      expect(await eventsOf(server)).toEqual([]);
      expect(await index.scores([K])).toEqual([5]);
    });

    it('settles nothing by a look from before listening was lost', async () => {
      const { judge, index, evidence, hooks } = await judgeOn(server);
      await index.enrol([{ key: K, at: 5 }]);
      hooks.barrier = () => Promise.resolve(evidence.forget());

      await expect(judge.judge([K])).rejects.toThrow('listening was lost');

      expect(await index.scores([K])).toEqual([5]);
    });

    it('takes an entry with the mark, half a ms, for one whose deadline lies in a gap', async () => {
      const { send } = await judgeOn(server);
      const { redis } = server;
      const at = Date.now() - MINUTE;
      await redis.set('alive', '1', 'PXAT', at + 2 * MINUTE);
      const removed = await lapsed(redis, 'removed');
      const scores: Record<string, number> = {
        ...{ gone: at + 0.5, announced: at + 0.5, removed: removed + 0.5 },
        ...{ plain: at, alive: at + 3 * MINUTE + 0.5, skewed: at + 0.5 },
        // Told since, told long before, and told a moment before by a clock that is behind.
        ...{ told: at + 0.5, before: at + 0.5 },
      };
      const names = Object.keys(scores);
      for (const name of names)
        await redis.zadd(KEYS.index, scores[name]!, name);
      await redis.zadd(
        KEYS.told,
        ...[at + 5, 'told', at - MINUTE, 'before', at - 500, 'skewed'],
      );
      const known = names.map((name) => (name === 'announced' ? 'e' : 'd'));

      const { codes } = await send(1, {
        keys: names.map((name) => Buffer.from(name)),
        known: known.join(''),
        amongOthers: true,
      });

      expect(
        Object.fromEntries(names.map((name, i) => [name, codes[i]])),
      ).toEqual({
        ...{ gone: 'g', announced: 'e', removed: 'r', plain: 'd', alive: 'a' },
        ...{ told: 'n', before: 'g', skewed: 'n' },
      });
      const events = await eventsOf(server);
      expect(
        events.map(({ redisKey, deadline, source }) => [
          ...[redisKey.toString(), deadline, source],
        ]),
      ).toEqual([
        ['gone', at, 'recovery'],
        ['announced', at, 'recovery'],
        ['removed', removed, 'recovery'],
        ['before', at, 'recovery'],
      ]);
      expect(await redis.zrange(KEYS.index, '0', '-1', 'WITHSCORES')).toEqual([
        ...['alive', `${at + 2 * MINUTE}`],
      ]);
      expect(await redis.exists(KEYS.away)).toBe(0);
    });

    it('drops on a Cluster an entry that another partition brings of an expiry that was told', async () => {
      const { send } = await judgeOn(server);
      const { redis } = server;
      const at = Date.now() - MINUTE;
      const keys = [Buffer.from('told')];
      const look = async (number: number, score: number, known: string) => {
        await redis.zadd(KEYS.index, score, 'told');
        return send(number, { keys, known, amongOthers: true });
      };

      const codes = [
        (await look(1, at, 'e')).codes,
        (await look(2, at + 3.5, 'd')).codes,
        // Its next life.
        (await look(3, at + 500.5, 'd')).codes,
      ];

      expect(codes).toEqual(['e', 'n', 'g']);
      const events = await eventsOf(server);
      expect(events.map(({ deadline }) => deadline)).toEqual([at, at + 500]);
    });

    it('notes on a Cluster which keys fired or were gone without an entry, for ten minutes', async () => {
      const { send } = await judgeOn(server);
      const { redis } = server;
      const old = Date.now() - 11 * MINUTE;
      await redis.zadd(KEYS.told, old, 'old', old + 2 * MINUTE, 'recent');
      await redis.zadd(KEYS.index, 5, 'indexed');
      await redis.set('alive', '1');
      const keys = ['fired', 'gone', 'indexed', 'alive'].map((name) =>
        Buffer.from(name),
      );

      const { codes, now } = await send(1, {
        ...{ keys, known: 'e-ee' },
        amongOthers: true,
      });

      expect(codes).toBe('enea');
      expect(await redis.zrange(KEYS.told, '0', '-1', 'WITHSCORES')).toEqual([
        ...['recent', `${old + 2 * MINUTE}`],
        ...['fired', `${now}`, 'gone', `${now}`],
      ]);
      await send(2, { keys, known: '----' });
      await redis.del(KEYS.told);
      await send(3, { keys, known: 'e-ee' });
      expect(await redis.exists(KEYS.told)).toBe(0);
    });

    it('appends the value of the life that ended, and of no other', async () => {
      const { redis } = server;
      const { judge, index, values, evidence, node } = await judgeOn(server);
      const names = [
        'same',
        'other',
        'none',
        'announced',
        'deleted',
        'alive',
        'missed',
      ];
      const at = await lapsed(redis, 'same');
      for (const name of ['other', 'none', 'missed'])
        await redis.set(name, '1', 'PXAT', at).catch(() => undefined);
      await redis.set('alive', '1', 'PX', MINUTE);
      await index.enrol(names.map((name) => ({ key: Buffer.from(name), at })));
      evidence.announce('announced');
      for (const name of names)
        values.set(name, {
          deadline: name === 'other' ? at + 1 : at,
          value:
            name === 'none'
              ? undefined
              : { kind: 'string', bytes: Buffer.from(name), age: 3 },
        });
      for (const name of ['other', 'none']) evidence.announce(name);
      // Nobody listened at its deadline, as far as the index can tell.
      await index.enrol([{ key: Buffer.from('missed'), at: at - MINUTE }]);
      values.set('missed', {
        deadline: at - MINUTE,
        value: { kind: 'string', bytes: Buffer.from('missed'), age: 3 },
      });
      node.gaps.begin(at - MINUTE - 1);
      node.gaps.end(at - MINUTE + 1);

      await judge.judge(names.map((name) => Buffer.from(name)));

      const events = await eventsOf(server);
      const shown = events.map(
        ({ redisKey, source, value }) =>
          [redisKey.toString(), [source, value?.bytes.toString()]] as const,
      );
      expect(events).toHaveLength(5);
      expect(Object.fromEntries(shown)).toEqual({
        announced: ['notification', 'announced'],
        missed: ['recovery', undefined],
        none: ['notification', undefined],
        other: ['notification', undefined],
        same: ['notification', 'same'],
      });
      // Of lives that have ended nothing is remembered.
      expect(values.size).toBe(0);
    });

    it('appends values however many and long they are', async () => {
      const { redis } = server;
      const { judge, index, values } = await judgeOn(server);
      const at = await lapsed(redis, 'k0');
      const names = Array.from({ length: 700 }, (_, i) => `k${i}`);
      const bytes = Buffer.alloc(4_096, 'x');
      for (const name of names)
        values.set(name, {
          deadline: at,
          value: { kind: 'string', bytes, age: 0 },
        });
      await index.enrol(names.map((name) => ({ key: Buffer.from(name), at })));
      // Gone, and announced, but for the first.
      const keys = names.map((name) => Buffer.from(name));

      await judge.judge(keys);

      const [event] = await eventsOf(server);
      expect(event).toMatchObject({ value: { kind: 'string', bytes, age: 0 } });
      expect(values.size).toBe(0);
      expect(await index.size()).toBe(0);
    });

    it("touches nothing where the lease is another one's", async () => {
      const { judge, index, evidence } = await judgeOn(server);
      const { redis } = server;
      const at = await lapsed(redis, 'k');
      await index.enrol([{ key: K, at }]);
      await redis.set(KEYS.lease, 'another');

      await expect(judge.judge([K])).rejects.toThrow(/^LEASE lost/);

      // The index, the lease, and the key, which nobody looked at.
      expect(await redis.dbsize()).toBe(3);
      await redis.set(KEYS.lease, 'token');
      await judge.judge([K]);
      expect(await eventsOf(server)).toHaveLength(1);
      expect(evidence.expects('k')).toBe(true);
    });

    it('says so where a server out of memory does not keep older requests out', async () => {
      const { send } = await judgeOn(server);
      const { redis } = server;
      const [old, fence] = [
        { keys: [K], known: 'e' },
        { keys: [], known: '' },
      ];
      await redis.config('SET', 'maxmemory', '1');
      onTestFinished(() => void redis.config('SET', 'maxmemory', '0'));

      await expect(send(2, fence)).rejects.toThrow('OOM');
      // What writes nothing but the note is done all the same.
      expect((await send(3, { keys: [K], known: '-' })).codes).toBe('n');

      await redis.config('SET', 'maxmemory', '0');
      await send(2, fence);
      await expect(send(1, old)).rejects.toThrow('STALE');
    });

    it('is not heard with a request that is older than the newest', async () => {
      const { send } = await judgeOn(server);
      expect((await send(2, { keys: [K], known: '-' })).codes).toBe('n');

      await expect(send(1, { keys: [K], known: 'e' })).rejects.toThrow('STALE');

      expect(await eventsOf(server)).toEqual([]);
    });
  },
  { args: ['--enable-debug-command', 'yes'] },
);
