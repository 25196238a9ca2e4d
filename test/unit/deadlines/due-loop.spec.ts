import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type {
  DeadlineEntry,
  Verdict,
} from '../../../lib/deadlines/deadline-index.js';
import { MemoryIndex } from '../../../lib/deadlines/memory-index.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { DueLoop } from '../../../lib/deadlines/due-loop.js';
import { type Deferred, deferred } from '../../support/eventually.js';

const DAY = 86_400_000;

/** Looks at keys as whoever runs a `DueLoop` does, by what Redis would say of them. Its clock is the local one. */
class FakeLook {
  /** When each key runs out. Any other is gone. */
  readonly deadlines = new Map<string, number>();
  readonly looks: { at: number; keys: string[] }[] = [];
  readonly gone: string[] = [];
  timesRead = 0;
  /** By how many ms Redis's clock is ahead of the local one. */
  ahead = 0;
  /** Answers wait for these. */
  gate: Deferred | undefined;
  timeGate: Deferred | undefined;
  /** The next looks fail. */
  failures: Error[] = [];

  constructor(
    private readonly index: MemoryIndex,
    private readonly clock: RedisClock,
  ) {}

  get touched(): string[] {
    return this.looks.flatMap(({ keys }) => keys);
  }

  look = async (due: readonly DeadlineEntry[]): Promise<void> => {
    this.looks.push({ at: Date.now(), keys: due.map(nameOf) });
    const failure = this.failures.shift();
    if (failure) throw failure;
    await this.gate?.promise;
    const now = Date.now() + this.ahead;
    const verdicts = due.map(({ key, at }): Verdict => {
      const deadline = this.deadlines.get(key.toString()) ?? 0;
      return { key, seen: at, at: deadline < now ? undefined : deadline };
    });
    const settled = await this.index.settle(verdicts);
    verdicts.forEach(({ key, at }, i) => {
      if (settled[i] && at === undefined) this.gone.push(key.toString());
    });
  };

  readTime = async (): Promise<void> => {
    this.timesRead++;
    const sent = this.clock.mark();
    await this.timeGate?.promise;
    this.clock.read(Date.now() + this.ahead, sent);
  };
}

const nameOf = ({ key }: DeadlineEntry): string => key.toString();

/** An index whose `peek` answers late, as one at the other end of a connection does. */
class SlowIndex extends MemoryIndex {
  gate: Deferred | undefined;

  override async peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    const answer = await super.peek(now, limit);
    await this.gate?.promise;
    return answer;
  }
}

describe('DueLoop', () => {
  let start: number;
  let clock: RedisClock;
  let index: SlowIndex;
  let fake: FakeLook;
  let errors: unknown[];
  let watch: DueLoop;

  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 10, 23) });
    start = Date.now();
    clock = new RedisClock(() => Date.now() - start);
    index = new SlowIndex();
    fake = new FakeLook(index, clock);
    errors = [];
    watch = new DueLoop({
      index,
      clock,
      readTime: fake.readTime,
      looker: { look: fake.look, report: (error) => errors.push(error) },
    });
    clock.onStep = () => watch.retime();
  });
  afterEach(() => {
    watch.pause();
    vi.useRealTimers();
  });

  /** A key that is known, with a deadline so many ms after the start of the test. */
  async function enrol(name: string, ms: number, really = ms): Promise<void> {
    fake.deadlines.set(name, start + really);
    await index.enrol([{ key: Buffer.from(name), at: start + ms }]);
  }

  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  const askedAt = () => fake.looks.map(({ at, keys }) => [at - start, ...keys]);

  it('does nothing before it is resumed', async () => {
    await enrol('a', 10);
    watch.nudge(start + 10);
    await pass(1_000);

    expect(fake.looks).toEqual([]);
    expect(fake.timesRead).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does nothing while nothing is due: no timer, no question', async () => {
    watch.resume();
    await pass(DAY);

    expect(fake.looks).toEqual([]);
    expect(fake.timesRead).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('touches each key in the millisecond after its deadline, the soonest first', async () => {
    await enrol('c', 300);
    await enrol('a', 100);
    await enrol('b', 200);
    watch.resume();
    await pass(1_000);

    expect(fake.touched).toEqual(['a', 'b', 'c']);
    for (const [i, { at }] of fake.looks.entries()) {
      const late = at - start - (i + 1) * 100;
      expect(late).toBeGreaterThanOrEqual(1);
      expect(late).toBeLessThanOrEqual(3);
    }
    expect(fake.gone).toEqual(['a', 'b', 'c']);
    expect(await index.size()).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('touches no key before its entry is due', async () => {
    for (let i = 0; i < 1_000; i++) await enrol(`k${i}`, i);
    watch.resume();
    await pass(2_000);

    expect(fake.touched).toHaveLength(1_000);
    for (const { at, keys } of fake.looks)
      for (const key of keys)
        expect(at - start).toBeGreaterThan(Number(key.slice(1)));
    expect(fake.gone).toHaveLength(1_000);
  });

  it('looks at what is due together in batches of some hundreds, oldest first', async () => {
    for (let i = 0; i < 1_800; i++) await enrol(`k${i}`, i % 2 ? -5 : -9);
    watch.resume();
    await pass(10);

    const sizes = fake.looks.map(({ keys }) => keys.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
    expect(sizes.length).toBeLessThanOrEqual(20);
    const odd = fake.touched.map((key) => Number(key.slice(1)) % 2);
    expect(odd).toEqual(odd.toSorted((a, b) => a - b));
    expect(new Set(fake.touched).size).toBe(1_800);
    expect(fake.gone).toHaveLength(1_800);
  });

  it('looks at a renewed key again when it is due then', async () => {
    await enrol('a', 100, 250);
    watch.resume();
    await pass(150);
    expect(fake.touched).toEqual(['a']);
    expect(fake.gone).toEqual([]);
    expect(await index.size()).toBe(1);
    fake.deadlines.set('a', start + 400);
    await pass(1_000);

    expect(fake.touched).toEqual(['a', 'a', 'a']);
    expect(fake.gone).toEqual(['a']);
  });

  it('reads the clock once a second while something is due later, however late that is', async () => {
    const wakes = vi.spyOn(globalThis, 'setTimeout');
    await enrol('a', Number.MAX_SAFE_INTEGER / 2);
    watch.resume();
    await pass(60_000);

    expect(fake.looks).toEqual([]);
    expect(vi.getTimerCount()).toBe(1);
    expect(fake.timesRead).toBeGreaterThan(50);
    expect(fake.timesRead).toBeLessThanOrEqual(61);
    for (const [, ms] of wakes.mock.calls) expect(ms).toBeLessThan(2 ** 31);
    wakes.mockRestore();
  });

  it('does not read the clock that something else reads', async () => {
    await enrol('a', DAY);
    watch.resume();
    for (let i = 0; i < 100; i++) {
      await pass(500);
      clock.read(Date.now(), clock.mark());
    }
    expect(fake.timesRead).toBe(1);
  });

  it("looks within a second at what a step of Redis's clock made due, and at once where something else noticed it", async () => {
    await enrol('a', 40_000);
    await enrol('b', 70_000);
    watch.resume();
    await pass(500);
    fake.ahead = 45_000;
    await pass(1_600);
    expect(fake.gone).toEqual(['a']);

    fake.ahead = 90_000;
    clock.read(Date.now() + fake.ahead, clock.mark());
    await pass(1);
    expect(fake.gone).toEqual(['a', 'b']);
  });

  it("says of no time to come that it was settled, though Redis's clock was set back", async () => {
    await enrol('a', 10_000, 100_000);
    watch.resume();
    await pass(20_000);
    expect(watch.settledBefore).toBe(start + 20_000);
    fake.ahead = -15_000;
    await pass(1_600);
    expect(watch.settledBefore).toBe(start + 6_600);
    watch.pause();
    expect(watch.settledBefore).toBe(start + 6_600);
  });

  describe('tells before which moment all was settled:', () => {
    const settledBefore = () =>
      watch.settledBefore === undefined
        ? undefined
        : watch.settledBefore - start;

    it('none before it was resumed', () => {
      expect(settledBefore()).toBeUndefined();
    });

    it('now, while it sleeps', async () => {
      await enrol('a', 10_000);
      watch.resume();
      await pass(500);
      expect(settledBefore()).toBe(500);
      await pass(1_000);
      expect(settledBefore()).toBe(1_500);
    });

    it('no later than what is due and not looked at', async () => {
      await enrol('a', 100);
      await enrol('b', 300);
      watch.resume();
      await pass(50);
      fake.gate = deferred();
      await pass(100);
      // The look at `a` is under way.
      expect(fake.looks).toHaveLength(1);
      expect(settledBefore()).toBeLessThanOrEqual(100);
      await pass(1_000);
      expect(settledBefore()).toBeLessThanOrEqual(100);
      fake.gate.resolve();
      fake.gate = undefined;
      await pass(0);

      expect(fake.gone).toEqual(['a', 'b']);
      expect(settledBefore()).toBeGreaterThanOrEqual(1_150);
    });

    it('no later than what a look that failed was about', async () => {
      await enrol('a', 100);
      fake.failures = [new Error('one')];
      watch.resume();
      await pass(150);
      expect(errors).toHaveLength(1);

      expect(settledBefore()).toBeLessThanOrEqual(100);
      await pass(500);
      expect(settledBefore()).toBe(650);
    });

    it('no later than it was paused', async () => {
      watch.resume();
      await pass(500);
      watch.pause();
      await pass(1_000);

      expect(settledBefore()).toBeLessThanOrEqual(500);
    });
  });

  describe('nudged', () => {
    it('wakes sooner', async () => {
      await enrol('late', 10_000);
      watch.resume();
      await pass(0);
      await enrol('soon', 50);
      watch.nudge(start + 50);
      await pass(100);

      expect(fake.touched).toEqual(['soon']);
      await pass(20_000);
      expect(fake.gone).toEqual(['soon', 'late']);
    });

    it('goes on as before when it would wake sooner anyway', async () => {
      await enrol('soon', 50);
      watch.resume();
      await pass(0);
      await enrol('late', 10_000);
      watch.nudge(start + 10_000);
      await pass(100);

      expect(fake.touched).toEqual(['soon']);
      await pass(20_000);
      expect(fake.gone).toEqual(['soon', 'late']);
    });

    it('at once for what is due already', async () => {
      watch.resume();
      await pass(1_000);
      await enrol('due', 500);
      watch.nudge(start + 500);
      await pass(5);

      expect(fake.gone).toEqual(['due']);
    });

    it('while it looks at keys: takes up the new one', async () => {
      await enrol('a', 100);
      fake.gate = deferred();
      watch.resume();
      await pass(102);
      await enrol('b', 150);
      watch.nudge(start + 150);
      await pass(100);
      fake.gate.resolve();
      await pass(5);

      expect(fake.gone).toEqual(['a', 'b']);
    });

    it('while the index says that nothing is due: takes up the new one', async () => {
      await enrol('late', 10_000);
      index.gate = deferred();
      watch.resume();
      await pass(0);
      // The index has given its answer, which is still under way.
      await enrol('soon', 50);
      watch.nudge(start + 50);
      await pass(20);
      index.gate.resolve();
      index.gate = undefined;
      await pass(80);

      expect(fake.gone).toEqual(['soon']);
    });

    it('while it is paused: takes it up when it is resumed', async () => {
      watch.resume();
      await pass(0);
      watch.pause();
      await enrol('a', 50);
      watch.nudge(start + 50);
      await pass(1_000);
      expect(fake.looks).toEqual([]);
      watch.resume();
      await pass(1);

      expect(fake.gone).toEqual(['a']);
    });
  });

  describe('paused', () => {
    it('touches nothing, and takes up what fell due when it is resumed', async () => {
      await enrol('a', 100);
      await enrol('b', 5_000);
      watch.resume();
      await pass(50);
      watch.pause();
      expect(vi.getTimerCount()).toBe(0);
      await pass(1_000);
      expect(fake.looks).toEqual([]);

      watch.resume();
      await pass(1);
      expect(fake.gone).toEqual(['a']);
      await pass(10_000);
      expect(fake.gone).toEqual(['a', 'b']);
    });

    it('in the middle of many batches: ends with the one that is under way', async () => {
      for (let i = 0; i < 5_000; i++) await enrol(`k${i}`, -1);
      fake.gate = deferred();
      watch.resume();
      await pass(1);
      expect(fake.looks).toHaveLength(1);
      watch.pause();
      fake.gate.resolve();
      await pass(10_000);
      expect(fake.looks).toHaveLength(1);
      expect(vi.getTimerCount()).toBe(0);

      watch.resume();
      await pass(1);
      expect(fake.gone).toHaveLength(5_000);
      expect(new Set(fake.touched).size).toBe(5_000);
    });

    it('while it asks for the time: touches nothing', async () => {
      await enrol('a', -1);
      fake.timeGate = deferred();
      watch.resume();
      await pass(1);
      expect(fake.timesRead).toBe(1);
      watch.pause();
      fake.timeGate.resolve();
      await pass(1_000);

      expect(fake.touched).toEqual([]);
      expect(fake.gone).toEqual([]);
    });

    it('while the index is asked what is due: touches nothing', async () => {
      await enrol('a', -1);
      index.gate = deferred();
      watch.resume();
      await pass(1);
      watch.pause();
      index.gate.resolve();
      await pass(1_000);

      expect(fake.touched).toEqual([]);
      expect(fake.gone).toEqual([]);
    });

    it('and resumed while a look is under way: looks once at each key', async () => {
      await enrol('a', 10);
      await enrol('b', 20);
      fake.gate = deferred();
      watch.resume();
      await pass(15);
      for (let i = 0; i < 5; i++) {
        watch.pause();
        watch.resume();
      }
      await pass(100);
      fake.gate.resolve();
      await pass(100);

      expect(fake.touched).toEqual(['a', 'b']);
      expect(fake.gone).toEqual(['a', 'b']);
      expect(vi.getTimerCount()).toBe(0);
    });
  });

  describe('when a look fails', () => {
    it('reports it, loses no key and looks again soon, but not at once', async () => {
      await enrol('a', 100);
      fake.failures = [new Error('one'), new Error('two')];
      watch.resume();
      await pass(150);
      expect(errors).toEqual([new Error('one')]);
      expect(fake.gone).toEqual([]);
      await pass(1_000);

      expect(errors).toEqual([new Error('one'), new Error('two')]);
      expect(fake.gone).toEqual(['a']);
      const [first, second, third] = askedAt().map(([at]) => Number(at));
      expect(second! - first!).toBeGreaterThanOrEqual(50);
      expect(third! - second!).toBeGreaterThanOrEqual(50);
      expect(third! - first!).toBeLessThan(1_000);
    });

    it('does not look again once it is paused', async () => {
      await enrol('a', 100);
      fake.failures = [new Error('one')];
      watch.resume();
      await pass(110);
      expect(errors).toHaveLength(1);
      watch.pause();
      await pass(1_000);

      expect(fake.looks).toHaveLength(1);
      expect(vi.getTimerCount()).toBe(0);
    });

    it('is not put off by a nudge for later', async () => {
      await enrol('a', 100);
      fake.failures = [new Error('one')];
      watch.resume();
      await pass(110);
      expect(errors).toEqual([new Error('one')]);
      await enrol('b', 600_000);
      watch.nudge(start + 600_000);
      await pass(1_000);

      expect(fake.gone).toEqual(['a']);
    });

    it('takes up a nudge that came meanwhile', async () => {
      await enrol('a', 100);
      fake.gate = deferred();
      watch.resume();
      await pass(102);
      await enrol('b', 150);
      watch.nudge(start + 150);
      fake.gate.reject(new Error('lost'));
      await pass(0);
      fake.gate = undefined;
      await pass(300);

      expect(errors).toEqual([new Error('lost')]);
      expect(fake.gone.toSorted()).toEqual(['a', 'b']);
    });
  });

  it('goes by the clock of Redis, whatever the local one does', async () => {
    await enrol('a', 5_000);
    watch.resume();
    await pass(0);
    // Redis is found to be 4 s ahead.
    clock.read(Date.now() + 4_000, clock.mark());
    watch.nudge(start + 5_000);
    await pass(900);
    expect(fake.looks).toEqual([]);
  });
});
