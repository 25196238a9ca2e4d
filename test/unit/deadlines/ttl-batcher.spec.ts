import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TtlBatcher } from '../../../lib/deadlines/ttl-batcher.js';
import { MemoryIndex } from '../../../lib/deadlines/memory-index.js';
import type { Ttls } from '../../../lib/deadlines/ttl-reader.js';
import { type Deferred, deferred } from '../../support/eventually.js';

/** More hints than may wait for a look. */
const FLOOD = 225_000;

/** What Redis would say of the keys, and what it was asked. */
class FakeReader {
  /** Time to live of each key; -1 for one without. Any other is gone. */
  readonly ttls = new Map<string, number>();
  /** Keys that are not named have this. */
  usual = -2;
  readonly asked: { at: number; keys: string[] }[] = [];
  gate: Deferred | undefined;
  failures: Error[] = [];

  get keys(): string[] {
    return this.asked.flatMap(({ keys }) => keys);
  }

  /** When a key was asked for. */
  times(key: string): number[] {
    return this.asked
      .filter(({ keys }) => keys.includes(key))
      .map(({ at }) => at);
  }

  read = async (buffers: readonly Buffer[]): Promise<Ttls> => {
    const keys = buffers.map((key) => key.toString('latin1'));
    this.asked.push({ at: Date.now(), keys });
    await this.gate?.promise;
    const failure = this.failures.shift();
    if (failure) throw failure;
    return {
      now: Date.now(),
      ttls: keys.map((key) => this.ttls.get(key) ?? this.usual),
    };
  };
}

describe('TtlBatcher', () => {
  let start: number;
  let reader: FakeReader;
  let index: MemoryIndex;
  let soonest: number[];
  let overflows: number;
  let errors: unknown[];
  let enrolment: TtlBatcher;

  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 10, 23) });
    start = Date.now();
    reader = new FakeReader();
    index = new MemoryIndex();
    soonest = [];
    overflows = 0;
    errors = [];
    enrolment = new TtlBatcher({
      index,
      reader,
      onEnrolled: (at) => soonest.push(at - start),
      onOverflow: () => overflows++,
      onError: (error) => errors.push(error),
    });
    enrolment.resume();
  });
  afterEach(() => {
    enrolment.pause();
    vi.useRealTimers();
  });

  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  const created = (name: string) =>
    enrolment.created(Buffer.from(name, 'latin1'));
  const renewed = (name: string) =>
    enrolment.renewed(Buffer.from(name, 'latin1'));
  const enrolled = async (): Promise<[string, number][]> =>
    (await index.peek(Infinity, 1_000_000)).due.map(({ key, at }) => [
      key.toString('latin1'),
      at - start,
    ]);

  it('reads the time to live of a key that was created, and enrols it', async () => {
    reader.ttls.set('a', 500);
    created('a');
    await pass(1);

    expect(reader.keys).toEqual(['a']);
    expect(await enrolled()).toEqual([['a', expect.closeTo(500, -1)]]);
    expect(soonest).toEqual([expect.closeTo(500, -1)]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not read in the callback that told of the key', () => {
    created('a');
    renewed('b');

    expect(reader.asked).toEqual([]);
  });

  it('keeps the bytes of a key', async () => {
    const key = '\0\xff\xfe key \x80';
    reader.ttls.set(key, 5);
    created(key);
    await pass(1);

    expect((await enrolled())[0]![0]).toBe(key);
  });

  it('reads what comes at once in few batches, each key once', async () => {
    reader.usual = 1_000;
    for (let i = 0; i < 1_200; i++) created(`k${i}`);
    for (let i = 0; i < 1_200; i++) renewed(`k${i}`);
    await pass(1);

    expect(reader.asked.length).toBeLessThanOrEqual(12);
    expect(reader.keys).toHaveLength(1_200);
    expect(new Set(reader.keys).size).toBe(1_200);
    expect(await index.size()).toBe(1_200);
  });

  it('tells the soonest of the deadlines', async () => {
    reader.ttls.set('a', 900).set('b', 300).set('c', 600).set('d', -1);
    for (const key of ['a', 'b', 'c', 'd', 'e']) created(key);
    await pass(1);

    expect(soonest).toEqual([expect.closeTo(300, -1)]);
    expect(await index.size()).toBe(3);
  });

  it('reads again what is told of while it is read', async () => {
    reader.ttls.set('a', 900);
    reader.gate = deferred();
    created('a');
    await pass(1);
    created('a');
    created('b');
    reader.ttls.set('b', 5);
    expect(reader.asked).toHaveLength(1);
    reader.gate.resolve();
    await pass(1);

    expect(reader.keys).toEqual(['a', 'a', 'b']);
    expect(await index.size()).toBe(2);
  });

  describe('of a key without a deadline', () => {
    it('looks again after 10 ms, 100 ms and 1 s, and at last gives up', async () => {
      reader.ttls.set('a', -1);
      created('a');
      await pass(3_600_000);

      const looks = reader.times('a').map((at) => at - start);
      expect(looks.length).toBeGreaterThanOrEqual(4);
      expect(looks.length).toBeLessThanOrEqual(6);
      const waits = looks.slice(1).map((at, i) => at - looks[i]!);
      expect(waits[0]).toBeGreaterThanOrEqual(10);
      expect(waits[0]).toBeLessThan(30);
      expect(waits[1]).toBeGreaterThanOrEqual(100);
      expect(waits[1]).toBeLessThan(150);
      expect(waits[2]).toBeGreaterThanOrEqual(1_000);
      expect(waits[2]).toBeLessThan(1_500);
      expect(vi.getTimerCount()).toBe(0);
      expect(await index.size()).toBe(0);
    });

    it('looks again all the same where it was changed right after it was created', async () => {
      reader.ttls.set('a', -1);
      created('a');
      enrolment.changed(Buffer.from('a'));
      await pass(20);
      reader.ttls.set('a', 5_000);
      await pass(500);

      expect(await index.size()).toBe(1);
    });

    it.for([5, 50, 500])(
      'finds the one that it is given %i ms later',
      async (ms) => {
        reader.ttls.set('a', -1);
        created('a');
        await pass(ms);
        reader.ttls.set('a', 60_000);
        await pass(20_000);

        expect((await enrolled()).map(([key]) => key)).toEqual(['a']);
        // Known within twice the time it took, and a little.
        expect(soonest[0]! - 60_000).toBeLessThanOrEqual(ms * 2.5 + 120);
        const looks = reader.times('a').length;
        await pass(60_000);
        expect(reader.times('a')).toHaveLength(looks);
      },
    );

    it('looks no more when it is gone', async () => {
      reader.ttls.set('a', -1);
      created('a');
      await pass(5);
      reader.ttls.delete('a');
      await pass(60_000);

      expect(reader.times('a')).toHaveLength(2);
    });

    it('begins anew with its next life', async () => {
      reader.ttls.set('a', -1);
      created('a');
      await pass(60_000);
      const looks = reader.times('a').length;
      created('a');
      await pass(60_000);

      expect(reader.times('a')).toHaveLength(2 * looks);
    });

    it('does not look sooner because others wait too', async () => {
      // Hashes that come all the time: HSET, and some hundred ms later EXPIRE.
      reader.usual = -1;
      const names = Array.from({ length: 3_000 }, (_, i) => `h${i}`);
      const createdAt = new Map<string, number>();
      for (const name of names) {
        createdAt.set(name, Date.now());
        created(name);
        await pass(10);
      }
      await pass(60_000);

      const lastLook = new Map<string, number>();
      for (const { at, keys } of reader.asked)
        for (const key of keys) lastLook.set(key, at);
      const lookedFor = names.map(
        (name) => lastLook.get(name)! - createdAt.get(name)!,
      );
      expect(lookedFor).toHaveLength(3_000);
      // 11 s, by the looks after 10 ms, 100 ms, 1 s and 10 s; a tenth of that is little enough.
      expect(Math.max(...lookedFor)).toBeGreaterThan(10_000);
      expect(lookedFor.filter((ms) => ms < 1_100)).toEqual([]);
    });
  });

  it('is paused at first, and ignores what it is told then', async () => {
    enrolment.pause();
    reader.ttls.set('a', 500);
    created('a');
    renewed('a');
    await pass(1_000);
    expect(reader.asked).toEqual([]);

    enrolment.resume();
    await pass(1_000);
    expect(reader.asked).toEqual([]);
    created('a');
    await pass(1);
    expect(reader.keys).toEqual(['a']);
  });

  it('forgets when paused what waits for a first or a second look', async () => {
    reader.usual = -1;
    for (let i = 0; i < 50; i++) created(`k${i}`);
    await pass(30);
    for (let i = 50; i < 100; i++) created(`k${i}`);
    const asked = reader.asked.length;
    enrolment.pause();
    await pass(60_000);
    enrolment.resume();
    await pass(60_000);

    expect(reader.asked).toHaveLength(asked);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('reads nothing more when paused in the middle of many batches', async () => {
    reader.usual = 500;
    reader.gate = deferred();
    for (let i = 0; i < 5_000; i++) created(`k${i}`);
    await pass(1);
    enrolment.pause();
    reader.gate.resolve();
    await pass(1_000);

    expect(reader.asked).toHaveLength(1);
  });

  it('goes on after a pause that came while it read', async () => {
    reader.usual = 500;
    reader.gate = deferred();
    created('a');
    await pass(1);
    enrolment.pause();
    enrolment.resume();
    created('b');
    await pass(1);
    reader.gate.resolve();
    await pass(1);

    expect(reader.keys).toEqual(['a', 'b']);
    expect((await enrolled()).map(([key]) => key)).toContain('b');
  });

  describe('under a flood', () => {
    it('lets a bounded number of new keys wait, and tells that some were left out', async () => {
      reader.usual = 1_000;
      reader.gate = deferred();
      created('first');
      await pass(1);
      expect(overflows).toBe(0);
      for (let i = 0; i < FLOOD; i++) created(`k${i}`);
      expect(overflows).toBeGreaterThan(0);
      reader.gate.resolve();
      await pass(10);

      const read = new Set(reader.keys).size;
      expect(read).toBeGreaterThan(50_000);
      expect(read).toBeLessThan(FLOOD);
      expect(overflows).toBe(FLOOD + 1 - read);
      expect(await index.size()).toBe(read);

      // And goes on as before.
      created('late');
      await pass(1);
      expect(reader.asked.at(-1)!.keys).toEqual(['late']);
      expect(overflows).toBe(FLOOD + 1 - read);
    });

    it('lets a bounded number of keys wait for a second look', async () => {
      reader.usual = -1;
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < FLOOD / 3; i++) created(`k${round}:${i}`);
        await pass(0);
      }
      const first = new Set(reader.keys).size;
      expect(first).toBeGreaterThan(200_000);
      await pass(11);

      const again = reader.keys.length - first;
      expect(again).toBeLessThan(first);
      expect(overflows).toBeGreaterThanOrEqual(first - again);
    });

    it('leaves renewals above a rate to the scan, without asking for one', async () => {
      reader.usual = 60_000;
      for (let i = 0; i < 50_000; i++) renewed(`k${i}`);
      await pass(10);
      const first = reader.keys.length;
      expect(first).toBeGreaterThan(500);
      expect(first).toBeLessThan(25_000);
      expect(overflows).toBe(0);

      // None at all while it goes on, and so many again after a second of calm.
      await pass(1_000);
      for (let i = 0; i < 50_000; i++) renewed(`r${i}`);
      await pass(10);
      expect(reader.keys).toHaveLength(first);
      await pass(2_500);
      for (let i = 0; i < 50_000; i++) renewed(`s${i}`);
      await pass(10);
      expect(reader.keys).toHaveLength(2 * first);
      // And new keys all the same.
      created('new');
      await pass(1);
      expect(reader.keys.at(-1)).toBe('new');
    });

    it('counts a renewal of every key, however often it is renewed', async () => {
      reader.usual = 60_000;
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 200; i++) renewed(`k${i}`);
        await pass(20);
      }

      // Each round is one batch.
      expect(reader.asked).toHaveLength(5);
      expect(reader.keys).toHaveLength(1_000);
    });
  });

  describe('when reading fails', () => {
    it('tells so, and looks at the keys again, with what came meanwhile', async () => {
      reader.usual = 500;
      reader.failures = [new Error('lost')];
      created('a');
      await pass(1);
      expect(errors).toEqual([new Error('lost')]);
      created('b');
      await pass(50);
      // Not at once: it would fail as often as something comes.
      expect(reader.asked).toHaveLength(1);

      await pass(100);

      expect(reader.asked[1]!.keys.toSorted()).toEqual(['a', 'b']);
      expect((await enrolled()).map(([key]) => key).toSorted()).toEqual([
        'a',
        'b',
      ]);
      expect(errors).toHaveLength(1);
      expect(overflows).toBe(0);
    });

    it('goes on to look as often at a key that has no deadline yet', async () => {
      reader.ttls.set('a', -1);
      reader.failures = [new Error('lost')];
      created('a');
      await pass(105);
      expect(reader.asked).toHaveLength(2);
      reader.ttls.set('a', 5_000);
      await pass(20);

      expect(await index.size()).toBe(1);
    });

    it('leaves out what the ACL forbids to look at, and goes on with what came meanwhile', async () => {
      reader.usual = 500;
      reader.gate = deferred();
      const forbidden = Object.assign(new Error('NOPERM No permissions'), {
        name: 'ReplyError',
      });
      reader.failures = [forbidden];
      created('a');
      await pass(1);
      created('b');
      reader.gate.resolve();
      await pass(1_000);

      expect(reader.asked.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
      expect(errors).toEqual([forbidden]);
    });

    it('forgets the keys when it was paused: a scan follows', async () => {
      reader.gate = deferred();
      reader.failures = [new Error('lost')];
      created('a');
      await pass(1);
      enrolment.pause();
      reader.gate.resolve();
      await pass(1_000);
      enrolment.resume();
      await pass(1_000);

      expect(reader.asked).toHaveLength(1);
      expect(overflows).toBe(0);
    });

    it('forgets them when it is paused before it looks again, and goes on when it resumes', async () => {
      reader.usual = 500;
      reader.failures = [new Error('lost')];
      created('a');
      await pass(1);
      enrolment.pause();
      enrolment.resume();
      created('b');
      await pass(1_000);

      expect(reader.asked.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    });
  });
});
