import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KeyBatch } from '../../../lib/util/key-batch.js';
import { type Deferred, deferred } from '../../support/eventually.js';

describe('KeyBatch', () => {
  /** When each batch was worked on, in ms from the start, and what was in it. */
  let batches: { at: number; keys: string[]; notes: number[] }[];
  let errors: unknown[];
  let failures: number;
  let gate: Deferred | undefined;
  let start: number;

  beforeEach(() => {
    vi.useFakeTimers();
    [batches, errors, failures, gate] = [[], [], 0, undefined];
    start = performance.now();
  });
  afterEach(() => vi.useRealTimers());

  function batch({ batchSize = 3, capacity = 8, intervalMs = 0 } = {}) {
    const keys = new KeyBatch(
      async (buffers, notes) => {
        batches.push({
          at: Math.round(performance.now() - start),
          keys: buffers.map((key) => key.toString('latin1')),
          notes,
        });
        await gate?.promise;
        if (failures-- > 0) throw new Error('Redis is away');
      },
      (error) => errors.push(error),
      { batchSize, capacity, intervalMs },
    );
    keys.resume();
    return keys;
  }
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  const worked = () => batches.map(({ keys }) => keys.join(''));

  it('works on each key once, in batches, in the order in which they came', async () => {
    const keys = batch();
    for (const key of 'dcbaabcde\xff\0') keys.add(key);
    expect(keys.size).toBe(7);
    expect(batches).toEqual([]);
    await pass(1);

    expect(worked()).toEqual(['dcb', 'ae\xff', '\0']);
    expect(keys.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('keeps the smaller of two notes', async () => {
    const keys = batch();
    keys.add('a', 4);
    keys.add('a', 1);
    keys.add('a', 2);
    keys.add('b');
    await pass(1);

    expect(batches[0]).toMatchObject({ keys: ['a', 'b'], notes: [1, 0] });
  });

  it('has one batch under way at a time, and leaves out what was removed', async () => {
    const keys = batch();
    gate = deferred();
    for (const key of 'abcdef') keys.add(key);
    await pass(1);
    keys.remove('d');
    keys.add('g');
    await pass(1_000);
    expect(worked()).toEqual(['abc']);
    gate.resolve();
    await pass(1);

    expect(worked().join('')).toBe('abcefg');
  });

  it('tells when it is full, counting what waits', async () => {
    const keys = batch();
    for (const key of 'abcdefg') keys.add(key);
    expect(keys.isFull).toBe(false);
    keys.add('h');
    expect(keys.isFull).toBe(true);
    keys.add('i');
    await pass(1);

    expect(worked().join('')).toBe('abcdefghi');
    expect(keys.isFull).toBe(false);
  });

  it('begins rounds so far apart, each with all that waits by then', async () => {
    const keys = batch({ intervalMs: 1_000 });
    keys.add('a');
    await pass(10);
    for (const key of 'bcdef') keys.add(key);
    await pass(980);
    expect(worked()).toEqual(['a']);
    gate = deferred();
    await pass(20);
    keys.add('g');
    gate.resolve();
    await pass(500);
    expect(worked()).toEqual(['a', 'bcd', 'ef']);
    await pass(5_000);
    keys.add('h');
    await pass(1);

    expect(worked()).toEqual(['a', 'bcd', 'ef', 'g', 'h']);
    expect(batches[1]!.at).toBeGreaterThanOrEqual(batches[0]!.at + 1_000);
    expect(batches[3]!.at).toBeGreaterThanOrEqual(batches[1]!.at + 1_000);
  });

  it('rests after a failure, whatever comes meanwhile, and loses no key', async () => {
    const keys = batch();
    [failures, gate] = [2, deferred()];
    for (const key of 'abcd') keys.add(key, 7);
    await pass(1);
    keys.add('x');
    gate.resolve();
    await pass(50);
    keys.add('y');
    keys.remove('x');
    expect(worked()).toEqual(['abc']);
    await pass(300);

    expect(
      batches
        .slice(2)
        .flatMap(({ keys }) => keys)
        .toSorted(),
    ).toEqual(['a', 'b', 'c', 'd', 'y']);
    expect(errors).toHaveLength(2);
    expect(batches[1]!.at).toBeGreaterThanOrEqual(batches[0]!.at + 100);
    expect(batches[2]!.at).toBeGreaterThanOrEqual(batches[1]!.at + 100);
    expect(batches.at(-1)!.notes).toContain(7);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.for(['done', 'failed'])(
    'puts back nothing of a batch that is %s after a pause, and goes on',
    async (how) => {
      const keys = batch();
      [failures, gate] = [how === 'failed' ? 1 : 0, deferred()];
      for (const key of 'abcdef') keys.add(key);
      await pass(1);
      keys.pause();
      keys.add('ignored');
      keys.resume();
      keys.add('z');
      expect(keys.size).toBe(1);
      gate.resolve();
      await pass(1_000);

      expect(worked()).toEqual(['abc', 'z']);
      expect(errors).toHaveLength(how === 'failed' ? 1 : 0);
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  it('leaves no timer behind when it is paused while it waits', async () => {
    const keys = batch({ intervalMs: 1_000 });
    keys.add('a');
    await pass(1);
    keys.add('b');
    expect(vi.getTimerCount()).toBe(1);
    keys.pause();

    expect(vi.getTimerCount()).toBe(0);
    await pass(5_000);
    expect(worked()).toEqual(['a']);
  });
});
