import { describe, expect, it, onTestFinished } from 'vitest';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { Evidence } from '../../../lib/group/evidence.js';
import { GapBook } from '../../../lib/group/gap-book.js';
import { Judge } from '../../../lib/group/judge.js';
import { TermFence } from '../../../lib/group/term-fence.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import {
  ObservedIndex,
  eventsOf,
  lapsed,
} from '../../support/group/judging.js';
import { deferred } from '../../support/eventually.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { type TestServer, useServer } from '../../support/servers.js';

/** A judge that hears, by the barrier at the latest, what the test announces. */
async function judgeOn(server: TestServer) {
  const connection = commandsOn(server);
  onTestFinished(() => connection.close());
  const term = new TermFence('token');
  const commands = term.commands(connection);
  await server.redis.set(KEYS.lease, 'token');
  // Only what is looked at expires.
  await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  const index = new ObservedIndex(commands, KEYS);
  const gaps = new GapBook();
  const counters = newCounters();
  const announcements: Buffer[] = [];
  const settled: string[] = [];
  const state = {
    barriers: 0,
    barrierFails: false,
    wanted: true,
    unwanted: '',
  };
  const evidence = new Evidence();
  const announce = (key: Buffer): boolean =>
    evidence.announce(key.toString('latin1'));
  const clock = new RedisClock();
  const barrier = () => {
    state.barriers++;
    if (state.barrierFails) return Promise.reject(new Error('not heard'));
    for (const key of announcements.splice(0)) announce(key);
    return Promise.resolve();
  };
  const onSettled = (keys: readonly string[]) => void settled.push(...keys);
  const wanted = (key: Buffer) =>
    state.wanted && key.toString() !== state.unwanted;
  const judge = new Judge(
    {
      ...{ token: 'token', keys: KEYS, counters },
      registry: { matches: wanted },
      graces: { longest: 0, cover: () => false },
      nextRequest: () => term.nextRequest(),
    },
    {
      ...{ commands: index.observed(commands), evidence, gaps, barrier },
      ...{ isSilent: false, clock, previewedAfter: undefined },
      settled: onSettled,
      values: new ValueMemory(),
      returns: { fired: () => undefined },
      due: () => undefined,
    },
  );
  return {
    judge,
    term,
    evidence,
    announce,
    index,
    gaps,
    counters,
    announcements,
    settled,
    state,
    events: () => eventsOf(server),
  };
}

const K = Buffer.from('k');

describe('Judge', () => {
  const server = useServer({ args: ['--enable-debug-command', 'yes'] });

  describe('fires on a proof', () => {
    it('its own look removed the key', async () => {
      const { judge, announce, index, events, state } = await judgeOn(server);
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);

      await judge.judgeDue([{ key: K, at }]);

      const [event, ...more] = await events();
      expect(event).toMatchObject({
        redisKey: K,
        deadline: at,
        source: 'notification',
        tries: 0,
      });
      expect(event!.detected).toBeGreaterThan(at);
      expect(more).toEqual([]);
      expect(await index.size()).toBe(0);
      // No other proof was needed, and its announcement, still to come, is no news.
      expect(state.barriers).toBe(0);
      expect(announce(K)).toBe(false);
      expect(announce(K)).toBe(true);
    });

    it('Redis announced it before the look', async () => {
      const { judge, announce, index, events, state } = await judgeOn(server);
      const at = Date.now() - 10;
      await index.enrol([{ key: K, at }]);

      expect(announce(K)).toBe(true);
      await judge.judgeDue([{ key: K, at }]);

      expect(await events()).toMatchObject([
        { redisKey: K, deadline: at, source: 'notification' },
      ]);
      expect(state.barriers).toBe(0);
    });

    it('Redis announced it, and that is heard only after the look', async () => {
      const { judge, index, events, state, announcements } =
        await judgeOn(server);
      const at = Date.now() - 10;
      await index.enrol([{ key: K, at }]);
      announcements.push(K);

      await judge.judgeDue([{ key: K, at }]);

      expect(await events()).toMatchObject([{ redisKey: K, deadline: at }]);
      expect(state.barriers).toBe(1);
    });

    it('nobody listened at its deadline', async () => {
      const { judge, index, events, gaps, state } = await judgeOn(server);
      const at = Date.now() - 1_000;
      gaps.begin(at - 10);
      gaps.end(at + 10);
      await index.enrol([
        { key: K, at },
        { key: Buffer.from('before'), at: at - 11 },
        { key: Buffer.from('after'), at: at + 11 },
      ]);

      await judge.judgeDue((await index.peek(Date.now(), 10)).due);

      expect(await events()).toMatchObject([
        { redisKey: K, deadline: at, source: 'recovery' },
      ]);
      expect(await index.size()).toBe(0);
      expect(state.barriers).toBe(1);
    });

    it('Redis announced a key that the index does not know, or not with that deadline', async () => {
      const { judge, announce, index, events } = await judgeOn(server);
      const ahead = Date.now() + 60_000;
      await index.enrol([{ key: K, at: ahead }]);
      const unknown = Buffer.from([0xff, 0x00]);
      announce(K);
      announce(unknown);

      await judge.judge([K, unknown]);

      expect(await events()).toMatchObject([
        { redisKey: K, deadline: undefined, source: 'notification' },
        { redisKey: unknown, deadline: undefined, source: 'notification' },
      ]);
      expect(await index.size()).toBe(0);
    });
  });

  describe('does not fire', () => {
    it('for a key that was deleted', async () => {
      const { judge, index, events, state } = await judgeOn(server);
      const at = Date.now() - 10;
      await index.enrol([{ key: K, at }]);

      await judge.judgeDue([{ key: K, at }]);

      expect(await events()).toEqual([]);
      expect(await index.size()).toBe(0);
      expect(state.barriers).toBe(1);
    });

    it('while it cannot know whether it was deleted', async () => {
      const { judge, index, events, state } = await judgeOn(server);
      const at = Date.now() - 10;
      await index.enrol([{ key: K, at }]);
      state.barrierFails = true;

      await expect(judge.judgeDue([{ key: K, at }])).rejects.toThrow(
        'not heard',
      );

      expect(await events()).toEqual([]);
      expect(await index.scores([K])).toEqual([at]);
    });

    it('for a key that a gap makes suspect, but whose deadline is ahead', async () => {
      const { judge, index, events, gaps } = await judgeOn(server);
      gaps.begin(0);
      const at = Date.now() + 60_000;
      await index.enrol([{ key: K, at }]);

      await judge.judgeDue([{ key: K, at }]);

      expect(await events()).toEqual([]);
      expect(await index.size()).toBe(0);
    });

    it('for a key that lives: it looks again at its deadline', async () => {
      const { judge, index, events } = await judgeOn(server);
      const { redis } = server;
      const at = Date.now() - 10;
      const deadline = Date.now() + 60_000;
      await redis.set('k', '1', 'PXAT', deadline);
      await redis.set('forever', '1');
      const forever = Buffer.from('forever');
      await index.enrol([
        { key: K, at },
        { key: forever, at },
      ]);

      await judge.judgeDue((await index.peek(Date.now(), 10)).due);

      expect(await events()).toEqual([]);
      const [score, none] = await index.scores([K, forever]);
      expect(Math.abs(score! - deadline)).toBeLessThanOrEqual(2);
      expect(none).toBeUndefined();
    });

    it('for a key that lives and that nobody asks for any more: it is dropped', async () => {
      const { judge, index, state } = await judgeOn(server);
      await server.redis.set('k', '1', 'PX', 60_000);
      await index.enrol([{ key: K, at: 5 }]);
      state.wanted = false;

      await judge.judgeDue([{ key: K, at: 5 }]);

      expect(await index.size()).toBe(0);
    });

    it('for a key that expired and was written again: that is superseded', async () => {
      const { judge, announce, index, events, counters } =
        await judgeOn(server);
      await server.redis.set('k', '1', 'PX', 60_000);
      await index.enrol([{ key: K, at: 5 }]);
      announce(K);

      await judge.judge([K]);

      expect(await events()).toEqual([]);
      expect(counters).toMatchObject({ received: 1, superseded: 1 });
      expect(await index.size()).toBe(1);
      // It was news once.
      await judge.judge([K]);
      expect(counters.superseded).toBe(1);
    });

    it('for an announcement of a time before it was to forget', async () => {
      const { judge, evidence, announce, index, events } =
        await judgeOn(server);
      announce(K);
      evidence.forget();
      await index.enrol([{ key: K, at: 5 }]);

      await judge.judgeDue([{ key: K, at: 5 }]);

      expect(await events()).toEqual([]);
    });
  });

  it('keeps the proof while settling fails', async () => {
    const { judge, index, events } = await judgeOn(server);
    const { redis } = server;
    const at = await lapsed(redis, 'k');
    await index.enrol([{ key: K, at }]);
    await redis.set(KEYS.lease, 'another');

    await expect(judge.judgeDue([{ key: K, at }])).rejects.toThrow(/^LEASE/);
    // Where the look removed the key, nothing in Redis tells any more that it expired.
    expect(await redis.dbsize()).toBe(3);
    expect(await events()).toEqual([]);
    await redis.set(KEYS.lease, 'token');
    await judge.judgeDue([{ key: K, at }]);

    expect(await events()).toMatchObject([
      { deadline: at, source: 'notification' },
    ]);
  });

  it('fires once, however often and by whichever way it looks', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    const at = await lapsed(server.redis, 'k');
    await index.enrol([{ key: K, at }]);
    announce(K);

    await Promise.all([
      judge.judgeDue([{ key: K, at }]),
      judge.judge([K]),
      judge.judgeDue([{ key: K, at }]),
      judge.judge([K]),
    ]);
    announce(K);

    expect(await events()).toHaveLength(1);
  });

  it('fires once where Redis settled and the reply was lost: a look at a due key', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    const at = await lapsed(server.redis, 'k');
    await index.enrol([{ key: K, at }]);
    index.after = () => Promise.reject(new Error('the connection closed'));
    await expect(judge.judgeDue([{ key: K, at }])).rejects.toThrow('closed');
    index.after = () => Promise.resolve();
    expect(await events()).toHaveLength(1);

    // The announcement of the look comes; then the key is written anew, and deleted.
    if (announce(K)) await judge.judge([K]);
    await server.redis.set('k', '2', 'PX', 60_000);
    await index.enrol([{ key: K, at: Date.now() + 60_000 }]);
    await server.redis.del('k');
    await judge.judge([K]);

    expect(await events()).toHaveLength(1);
  });

  it('fires once where Redis settled and the reply was lost: an announced key, which is looked at again', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    const at = Date.now() - 10;
    await index.enrol([{ key: K, at }]);
    announce(K);
    index.after = () => Promise.reject(new Error('the connection closed'));
    await expect(judge.judge([K])).rejects.toThrow('closed');
    index.after = () => Promise.resolve();
    expect(await events()).toHaveLength(1);

    // As `RecheckQueue` does with keys whose judging failed.
    await judge.judge([K]);

    expect(await events()).toHaveLength(1);
  });

  it('fires once where Redis settled and the reply was lost: an announced key that the index does not know', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    announce(K);
    index.after = () => Promise.reject(new Error('the connection closed'));
    await expect(judge.judge([K])).rejects.toThrow('closed');
    index.after = () => Promise.resolve();
    expect(await events()).toHaveLength(1);

    // As `RecheckQueue` does with keys whose judging failed.
    await judge.judge([K]);

    expect(await events()).toHaveLength(1);
  });

  it('does not lose an expiry that is announced while an earlier one of the same key is being settled', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    const at = Date.now() - 10;
    await index.enrol([{ key: K, at }]);
    announce(K);
    let again = false;
    // Written anew and expired while the first settling is under way.
    index.after = () => {
      again ||= announce(K);
      return Promise.resolve();
    };
    await judge.judge([K]);
    index.after = () => Promise.resolve();
    expect(again).toBe(true);
    expect(await events()).toHaveLength(1);

    await judge.judge([K]);

    expect(await events()).toHaveLength(2);
  });

  it('does not lose an expiry that is announced while its key, found alive, is being settled', async () => {
    // As an audit after a gap does, which looks at keys whose deadline is just ahead.
    const { judge, announce, index, events } = await judgeOn(server);
    const at = Date.now() + 60_000;
    // Sooner than the index knows: there is something to settle.
    await server.redis.set('k', '1', 'PXAT', at - 1_000);
    await index.enrol([{ key: K, at }]);
    index.after = async () => {
      await server.redis.del('k');
      announce(K);
    };
    await judge.judgeDue([{ key: K, at }]);
    index.after = () => Promise.resolve();
    const { due } = await index.peek(Infinity, 10);
    expect(due).toHaveLength(1);

    await judge.judgeDue(due);

    expect(await events()).toHaveLength(1);
  });

  it.for([
    ['its own look', true],
    ['an announcement', false],
  ] as const)(
    'keeps the proof (%s) where a scan moved the entry between the look and the settling',
    async ([, touch]) => {
      // What a scan reads may differ by a millisecond, and `LT` takes the sooner one.
      const { judge, announce, index, events } = await judgeOn(server);
      const at = touch ? await lapsed(server.redis, 'k') : Date.now() - 20;
      await index.enrol([{ key: K, at }]);
      if (!touch) announce(K);
      index.before = () => index.enrol([{ key: K, at: at - 1 }]);
      await judge.judgeDue([{ key: K, at }]);
      index.before = () => Promise.resolve();

      const { due } = await index.peek(Date.now(), 10);
      if (due.length > 0) await judge.judgeDue(due);

      expect(await events()).toHaveLength(1);
      expect(await index.size()).toBe(0);
    },
  );

  it('keeps the proof where a key was enrolled between its announcement and the settling', async () => {
    const { judge, announce, index, events } = await judgeOn(server);
    const at = Date.now() - 20;
    announce(K);
    index.before = () => index.enrol([{ key: K, at }]);
    await judge.judge([K]);
    index.before = () => Promise.resolve();

    const { due } = await index.peek(Date.now(), 10);
    if (due.length > 0) await judge.judgeDue(due);

    expect(await events()).toHaveLength(1);
    expect(await index.size()).toBe(0);
  });

  it('fires once for a key that ran out in a gap and whose announcement is heard after the look', async () => {
    // Redis got to it after the gap: it is announced, too, by the other connection.
    const { judge, announce, index, events, gaps, announcements } =
      await judgeOn(server);
    const at = Date.now() - 1_000;
    gaps.begin(at - 10);
    gaps.end(at + 10);
    await index.enrol([{ key: K, at }]);
    announcements.push(K);
    await judge.judgeDue([{ key: K, at }]);
    for (const key of announcements.splice(0)) announce(key);
    await judge.judge([K]);

    expect(await events()).toHaveLength(1);
  });

  it('goes on looking at keys that are written again while they are settled', async () => {
    const { judge, announce, index, state } = await judgeOn(server);
    const { redis } = server;
    const names = ['expired', 'deleted', 'lasting', 'unwanted', 'unknown'];
    const keys = names.map((name) => Buffer.from(name));
    const known = keys.filter((key) => key.toString() !== 'unknown');
    await index.enrol(known.map((key) => ({ key, at: 5 })));
    await redis.set('lasting', '1');
    await redis.set('unwanted', '1', 'EX', 60);
    announce(keys[0]!);
    announce(keys[4]!);
    state.unwanted = 'unwanted';

    await judge.judge(keys);

    expect(await index.size()).toBe(0);
  });

  it('goes by the scores of now where what was not answered is answered late', async () => {
    const { judge, index } = await judgeOn(server);
    const { redis } = server;
    const at = Date.now() - 10;
    await index.enrol([{ key: K, at }]);
    await redis.set('k', '1', 'PX', 60_000);
    index.before = () => Promise.reject(new Error('the connection closed'));
    await expect(judge.judgeDue([{ key: K, at }])).rejects.toThrow('closed');
    index.before = () => Promise.resolve();
    // Which the index, where it is overdue, is not told.
    await redis.pexpire('k', 5_000);

    await judge.judgeDue([{ key: K, at }]);

    const [score] = await index.scores([K]);
    expect(score).toBeLessThan(Date.now() + 5_001);
  });

  it('does not use up what is announced after listening was lost while it settles', async () => {
    const { judge, announce, index, evidence, settled, events } =
      await judgeOn(server);
    announce(K);
    index.after = () => {
      evidence.forget();
      // Of its next life.
      announce(K);
      return Promise.resolve();
    };
    await judge.judge([K]).catch(() => undefined);
    index.after = () => Promise.resolve();
    expect(settled).toEqual([]);
    await judge.judge([K]);

    expect(await events()).toHaveLength(2);
    expect(settled).toEqual(['k']);
  });

  it('looks at nothing more once its term has ended, though a look waits for its turn', async () => {
    const { judge, term, index, events } = await judgeOn(server);
    const { redis } = server;
    const at = await lapsed(redis, 'k');
    const other = Buffer.from('other');
    await index.enrol([
      { key: K, at },
      { key: other, at: at - 1 },
    ]);
    const [asked, held] = [deferred(), deferred()];
    index.before = () => {
      asked.resolve();
      return held.promise;
    };
    const looks = [
      judge.judgeDue([{ key: other, at: at - 1 }]),
      judge.judgeDue([{ key: K, at }]),
    ];
    await asked.promise;
    const { evalsha } = await server.commandCalls();

    term.end();
    await redis.set(KEYS.lease, 'next');
    held.resolve();
    for (const look of looks)
      await expect(look).rejects.toThrow('leads the group no more');

    expect((await server.commandCalls())['evalsha']).toBe(evalsha);
    // Its own keys are the lease and the index: nobody touched the one that has run out.
    expect(await redis.dbsize()).toBe(3);
    expect(await events()).toEqual([]);
  });

  it('looks at nothing where listening was lost while a look waited for its turn', async () => {
    const { judge, index, evidence } = await judgeOn(server);
    const { redis } = server;
    const at = await lapsed(redis, 'k');
    await index.enrol([{ key: K, at }]);
    const first = judge.judge([Buffer.from('other')]);
    const second = judge.judgeDue([{ key: K, at }]);
    evidence.forget();

    await Promise.allSettled([first]);
    await expect(second).rejects.toThrow('listening was lost');

    // It is still there, though it has run out: a look would have removed it.
    const own = await redis.exists(...Object.values(KEYS));
    expect(await redis.dbsize()).toBe(own + 1);
  });

  it('judges hundreds at once, each by its own evidence', async () => {
    const { judge, index, events, announcements } = await judgeOn(server);
    const { redis } = server;
    const at = await lapsed(redis, 'touched0');
    const pipeline = redis.pipeline();
    for (let i = 1; i < 100; i++) pipeline.set(`touched${i}`, '1', 'PX', 1);
    for (let i = 0; i < 100; i++) pipeline.set(`alive${i}`, '1', 'EX', 100);
    await pipeline.exec();
    await lapsed(redis, 'other');
    const kinds = ['touched', 'alive', 'deleted', 'announced'];
    const due = Array.from({ length: 400 }, (_, i) => ({
      key: Buffer.from(`${kinds[i % 4]}${Math.floor(i / 4)}`),
      at,
    }));
    await index.enrol(due);
    for (const { key } of due)
      if (key.toString().startsWith('announced')) announcements.push(key);

    await judge.judgeDue(due);

    const fired = (await events()).map(({ redisKey }) => redisKey.toString());
    expect(fired).toHaveLength(200);
    expect(fired.every((key) => /^(touched|announced)/.test(key))).toBe(true);
    expect(await index.size()).toBe(100);
  });
});
