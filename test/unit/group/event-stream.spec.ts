import { describe, expect, it } from 'vitest';
import { RunCounts } from '../../../lib/group/run-counts.js';
import { REAP } from '../../../lib/scripts/reap.lua.js';
import {
  type StoredEvent,
  toPayload,
} from '../../../lib/group/stored-event.js';
import { eventually } from '../../support/eventually.js';
import { KEYS, streamOn } from '../../support/group/parts.js';
import { onEveryServer } from '../../support/servers.js';

const payload = (key: string, more: Partial<StoredEvent> = {}): string =>
  toPayload({
    redisKey: Buffer.from(key),
    deadline: 1,
    detected: 2,
    source: 'notification',
    handler: undefined,
    tries: 0,
    runs: RunCounts.none,
    passes: 0,
    ...more,
  });

onEveryServer('EventStream', (server) => {
  const append = async (...keys: string[]): Promise<string[]> => {
    const pipeline = server.redis.pipeline();
    for (const key of keys)
      pipeline.xadd(
        KEYS.events,
        '*',
        'k',
        key,
        'd',
        1,
        't',
        2,
        's',
        'recovery',
      );
    return ((await pipeline.exec()) ?? []).map(([, id]) => id as string);
  };
  const pendingOf = async (consumer: string): Promise<number> => {
    const summary = await server.redis.xpending(KEYS.events, 'g');
    const counts = (summary[3] ?? []) as [string, string][];
    return Number(counts.find(([name]) => name === consumer)?.[1] ?? 0);
  };
  const keysOf = (entries: readonly { event: StoredEvent }[]): string[] =>
    entries.map(({ event }) => event.redisKey.toString());
  /** Resolves when what a consumer has was not renewed for so long. */
  const idle = (ms: number, count: number) =>
    eventually(async () => {
      const [commandable] = [server.redis];
      const rows = await commandable.xpending(
        KEYS.events,
        'g',
        'IDLE',
        ms,
        '-',
        '+',
        100,
      );
      expect(rows.length).toBeGreaterThanOrEqual(count);
    });

  it('is made once, and reads what was appended before', async () => {
    await append('early');
    const a = await streamOn(server, 'a');
    const b = await streamOn(server, 'b');

    expect(keysOf(await a.read(10))).toEqual(['early']);
    await append('x', 'y');
    expect(keysOf(await b.read(1))).toEqual(['x']);
    expect(keysOf(await a.read(10))).toEqual(['y']);
    expect(await a.backlog()).toEqual({
      waiting: 0,
      pending: 3,
      inGrace: 0,
      retrying: 0,
      dead: 0,
      deadLettersDropped: 0,
      leaders: 0,
      tracked: 0,
    });
  });

  it('tells whether somebody holds the lease of its partition', async () => {
    const a = await streamOn(server, 'a');
    await server.redis.set(KEYS.lease, 'token', 'PX', 60_000);
    expect((await a.backlog()).leaders).toBe(1);
    await server.redis.del(KEYS.lease);
    expect((await a.backlog()).leaders).toBe(0);
  });

  it('is made anew after a flush', async () => {
    const a = await streamOn(server, 'a');
    await server.redis.flushall();
    expect(await a.read(1)).toEqual([]);
    await append('later');
    expect(keysOf(await a.read(1))).toEqual(['later']);
  });

  it('leaves nothing of an entry that was acknowledged', async () => {
    const a = await streamOn(server, 'a');
    await append('x', 'y');
    const ids = (await a.read(10)).map(({ id }) => id);
    await a.acknowledge(ids);

    expect(await server.redis.xlen(KEYS.events)).toBe(0);
    expect(await pendingOf('a')).toBe(0);
  });

  it('takes over what was not renewed', async () => {
    const [dead, live] = [
      await streamOn(server, 'dead'),
      await streamOn(server, 'live'),
    ];
    await append('x');
    await dead.read(1);
    expect(await live.claim(60_000, 10)).toEqual([]);
    await idle(30, 1);

    const claimed = await live.claim(30, 10);
    expect(keysOf(claimed)).toEqual(['x']);
    expect(await pendingOf('dead')).toBe(0);
    await idle(30, 1);
    expect(keysOf(await dead.claim(30, 10))).toEqual(['x']);
  });

  it('keeps what is renewed, and takes nothing back', async () => {
    const [a, b] = [await streamOn(server, 'a'), await streamOn(server, 'b')];
    await append('x', 'y');
    const ids = (await a.read(2)).map(({ id }) => id);
    await idle(30, 2);
    expect([...(await a.renew(ids))]).toEqual(ids);
    expect(await b.claim(30, 10)).toEqual([]);
    await idle(30, 2);
    expect(keysOf(await b.claim(30, 1))).toEqual(['x']);

    expect([...(await a.renew(ids))]).toEqual([ids[1]]);
    expect(await pendingOf('b')).toBe(1);
  });

  it('takes over from the dead, however many entries of the living come first', async () => {
    const [live, dead, heir] = [
      await streamOn(server, 'live'),
      await streamOn(server, 'dead'),
      await streamOn(server, 'heir'),
    ];
    // Slow handlers hold the oldest entries; the dead instance had a newer one.
    const older = await append(
      ...Array.from({ length: 30 }, (_, i) => `o${i}`),
    );
    expect(await live.read(30)).toHaveLength(30);
    await append('orphan');
    expect(keysOf(await dead.read(1))).toEqual(['orphan']);

    await eventually(async () => {
      await live.renew(older);
      // The heir has room for one event.
      expect(keysOf(await heir.claim(100, 1))).toEqual(['orphan']);
    });
  });

  it('acknowledges away what was deleted, and takes over the rest', async () => {
    const [dead, heir] = [
      await streamOn(server, 'dead'),
      await streamOn(server, 'heir'),
    ];
    const [gone] = await append('gone', 'kept');
    await dead.read(2);
    await server.redis.xdel(KEYS.events, gone!);
    await idle(30, 2);

    expect(keysOf(await heir.claim(30, 10))).toEqual(['kept']);
  });

  describe('a run of a handler', () => {
    const notes = () => server.redis.hgetall(KEYS.runs);

    it('is noted when it begins, and told to whoever takes the entry over', async () => {
      const [dead, heir] = [
        await streamOn(server, 'dead'),
        await streamOn(server, 'heir'),
      ];
      await append('x', 'y');
      const [x, y] = await dead.read(2);
      expect(x!.runs).toBe(RunCounts.none);
      x!.runs = RunCounts.none.plus('one').plus('one').plus('two');
      expect(await dead.begin([x!])).toEqual(new Set());
      // Sent again, as after an answer that was lost: it is the same run.
      await dead.begin([x!]);
      await idle(30, 2);

      const claimed = await heir.claim(30, 10);
      expect(keysOf(claimed)).toEqual(['x', 'y']);
      const [again, first] = claimed;
      expect(['one', 'two', 'no'].map((id) => again!.runs.of(id))).toEqual([
        2, 1, 0,
      ]);
      expect(first!.runs).toBe(RunCounts.none);
      expect(await dead.begin([x!, y!])).toEqual(new Set([x!.id, y!.id]));
    });

    it('is none of what is merely given again', async () => {
      const a = await streamOn(server, 'a');
      await append('x', 'y');
      const [x] = await a.read(2);
      x!.runs = x!.runs.plus('one');
      await a.begin([x!]);
      for (let i = 0; i < 5; i++) await a.readAgain();

      const again = await a.readAgain();
      expect(again.map(({ runs }) => runs.of('one'))).toEqual([1, 0]);
    });

    it('is noted of many entries at once, in whatever order, each as it is', async () => {
      const [a, b] = [await streamOn(server, 'a'), await streamOn(server, 'b')];
      await append(...Array.from({ length: 2_500 }, (_, i) => `k${i}`));
      const foreign = await b.read(3);
      const entries = (await a.read(3_000)).toReversed();
      entries.forEach((entry, i) => {
        entry.runs = i % 2 ? entry.runs : RunCounts.none.plus(`${i % 10}`);
      });
      const others = await a.begin([...foreign, ...entries]);

      expect(others).toEqual(new Set(foreign.map(({ id }) => id)));
      const noted = await notes();
      expect(Object.keys(noted)).toHaveLength(2_497);
      for (const { id, runs } of entries) expect(noted[id]).toBe(runs.text);
    });

    it('leaves no note of an entry that has ended, however it ended, and is refused', async () => {
      const a = await streamOn(server, 'a');
      await append('acknowledged', 'finished', 'deleted', 'kept');
      const entries = await a.read(4);
      for (const entry of entries) entry.runs = entry.runs.plus('one');
      await a.begin(entries);
      const [acknowledged, finished, deleted, kept] = entries;
      expect(Object.keys(await notes())).toHaveLength(4);

      await a.acknowledge([acknowledged!.id]);
      await a.finish(finished!.id, { retries: [], waits: [], dead: [] });
      await server.redis.xdel(KEYS.events, deleted!.id);
      await idle(30, 2);
      const heir = await streamOn(server, 'heir');
      expect(keysOf(await heir.claim(30, 10))).toEqual(['kept']);

      expect(await notes()).toEqual({ [kept!.id]: '{"one":1}' });
      // An instance that slept notes nothing of what others have ended.
      const ids = entries.map(({ id }) => id);
      expect(await a.begin(entries)).toEqual(new Set(ids));
      expect(Object.keys(await notes())).toEqual([kept!.id]);
    });

    it('goes along with an event that is passed on', async () => {
      const a = await streamOn(server, 'a');
      const runs = RunCounts.none.plus('one').plus('one');
      await server.redis.xadd(KEYS.events, '*', 'p', payload('x', { runs }));
      const [x] = await a.read(1);
      expect(x!.runs.of('one')).toBe(2);
      x!.runs = x!.runs.plus('one');
      await a.begin([x!]);
      const [again] = await a.readAgain();
      expect(again!.runs.of('one')).toBe(3);
    });
  });

  describe('what is left to do', () => {
    it('is put aside in the step that ends the entry', async () => {
      const a = await streamOn(server, 'a');
      await append('x');
      const [entry] = await a.read(1);
      const left = {
        retries: [
          {
            delay: 60_000,
            payload: payload('x', { handler: 'one', tries: 1 }),
          },
          { delay: 0, payload: payload('x', { handler: 'two', tries: 1 }) },
        ],
        waits: [{ id: 'three', due: 4_000_000_000_000, payload: payload('y') }],
        dead: [{ payload: payload('x', { tries: 1 }), error: 'why' }],
      };
      const before = Date.now();
      await a.finish(entry!.id, left);
      await a.finish(entry!.id, left);

      expect(await a.backlog()).toMatchObject({
        waiting: 0,
        pending: 0,
        retrying: 2,
        inGrace: 1,
        dead: 1,
      });
      const next = await a.promote(10);
      expect(next).toBeGreaterThan(50_000);
      expect(next).toBeLessThanOrEqual(60_000 + Date.now() - before);
      const [again] = await a.read(10);
      expect(again!.event).toMatchObject({ handler: 'two', tries: 1 });
      await a.acknowledge([again!.id]);
      expect(await a.backlog()).toMatchObject({ waiting: 0, retrying: 1 });
    });

    it('comes back once, whoever looks and however often', async () => {
      const a = await streamOn(server, 'a');
      const all = Array.from({ length: 50 }, (_, i) => payload(`k${i}`));
      await server.redis.zadd(KEYS.retry, ...all.flatMap((p) => [1, p]));

      const waits = await Promise.all(
        Array.from({ length: 20 }, () => a.promote(10)),
      );

      expect(waits.at(-1)).toBeUndefined();
      expect(await server.redis.xlen(KEYS.events)).toBe(50);
      expect(await server.redis.zcard(KEYS.retry)).toBe(0);
    });
  });

  it('removes consumers that are long gone and have nothing pending', async () => {
    const { redis } = server;
    const [own, busy, gone] = [
      await streamOn(server, 'own'),
      await streamOn(server, 'busy'),
      await streamOn(server, 'gone'),
    ];
    await append('x');
    await busy.read(1);
    for (const consumer of ['own', 'gone'])
      await redis.xgroup('CREATECONSUMER', KEYS.events, 'g', consumer);
    const names = async (): Promise<string[]> =>
      ((await redis.xinfo('CONSUMERS', KEYS.events, 'g')) as string[][]).map(
        (info) => info[1]!,
      );
    expect((await names()).toSorted()).toEqual(['busy', 'gone', 'own']);

    await own.reap(60_000);
    expect(await names()).toHaveLength(3);
    await eventually(async () => {
      expect(await REAP.run(redis, [KEYS.events], 'g', 20, 'own')).toBe(1);
    });
    expect((await names()).toSorted()).toEqual(['busy', 'own']);
    expect(await pendingOf('busy')).toBe(1);
    // It was alive after all.
    await append('y');
    expect(keysOf(await gone.read(1))).toEqual(['y']);
  });
});
