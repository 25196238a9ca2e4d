import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeadlineDiscovery } from '../../../lib/deadlines/discovery.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import type { TtlReader } from '../../../lib/deadlines/ttl-reader.js';
import type { WantedPattern } from '../../../lib/listening/interests.js';
import { type Deferred, deferred } from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';

// A scan rests for a share of the time that it really took, which the tests' own clock knows nothing of.
vi.mock('../../../lib/util/sleep.js', () => ({
  sleep: () => Promise.resolve(),
}));

/** Ms of the tests' own clock that whatever was begun is given to end. */
const SETTLING_MS = 500;

describe('DeadlineDiscovery', () => {
  /** The globs that passes were made with, in their order. */
  let scans: string[];
  /** Answers wait for this. */
  let gate: Deferred | undefined;
  let wanted: WantedPattern[];
  let learner: DeadlineDiscovery;

  beforeEach(() => {
    vi.useFakeTimers();
    scans = [];
    gate = undefined;
    wanted = [];
    const reader: Pick<TtlReader, 'scan' | 'read'> = {
      scan: async (_cursor, { match }) => {
        scans.push(match);
        await gate?.promise;
        return { cursor: '0', entries: [], candidates: [] };
      },
      read: () => Promise.reject(new Error('nothing is to be read')),
    };
    learner = new DeadlineDiscovery(
      { enrol: () => Promise.resolve() },
      reader as TtlReader,
      { wanted: () => wanted, matches: () => true },
      { scanInterval: 600_000, scanCount: 1_000 },
      () => undefined,
      new LogBook(),
    );
  });
  afterEach(() => {
    learner.close();
    vi.useRealTimers();
  });

  const pattern = (text: string): WantedPattern => ({
    text,
    redisGlob: new RedisGlob(text),
  });
  /** The node acknowledged these, and all that follows from it has been done. */
  async function serves(...texts: string[]): Promise<void> {
    learner.resume(new Set(texts));
    await vi.advanceTimersByTimeAsync(SETTLING_MS);
  }
  async function isReady(): Promise<boolean> {
    let ready = false;
    void learner.ready().then(() => (ready = true));
    await vi.advanceTimersByTimeAsync(SETTLING_MS);
    return ready;
  }

  it('scans a pattern after the node acknowledged it, and not before', async () => {
    wanted = [pattern('a*')];
    gate = deferred();
    await serves('a*');
    // Wanted while a scan is under way, and not listened for yet: keys are still created unseen.
    wanted.push(pattern('b*'));
    gate.resolve();
    await vi.advanceTimersByTimeAsync(100);
    expect(scans).toEqual(['a*']);
    expect(await isReady()).toBe(false);

    await serves('a*', 'b*');
    expect(scans).toEqual(['a*', 'b*']);
    expect(await isReady()).toBe(true);
  });

  it('takes a pattern that was gone in between for a new one', async () => {
    wanted = [pattern('a*'), pattern('b*')];
    await serves('a*', 'b*');
    expect(scans).toHaveLength(1);
    // No look at what is wanted came between the two.
    wanted = [wanted[0]!, pattern('b*')];
    gate = deferred();
    await serves('a*', 'b*');

    expect(scans.slice(1)).toEqual(['b*']);
    expect(await isReady()).toBe(false);
    gate.resolve();
    expect(await isReady()).toBe(true);
  });

  it('is ready when a pattern that somebody waited for is withdrawn', async () => {
    wanted = [pattern('a*')];
    await serves('a*');
    wanted.push(pattern('b*'));
    let ready = false;
    void learner.ready().then(() => (ready = true));
    await vi.advanceTimersByTimeAsync(SETTLING_MS);
    expect(ready).toBe(false);
    wanted.pop();
    await serves('a*');

    expect(ready).toBe(true);
    expect(scans).toEqual(['a*']);
  });

  it('is ready while it only reconciles', async () => {
    wanted = [pattern('a*')];
    await serves('a*');
    gate = deferred();
    await vi.advanceTimersByTimeAsync(600_000);

    expect(scans).toEqual(['a*', 'a*']);
    expect(await isReady()).toBe(true);
    gate.resolve();
  });

  it('makes up for keys that were left out, though a pattern comes meanwhile', async () => {
    wanted = [pattern('a*')];
    await serves('a*');
    learner.rescan();
    wanted.push(pattern('b*'));
    await serves('a*', 'b*');
    expect(scans).toEqual(['a*', 'b*']);
    await vi.advanceTimersByTimeAsync(1_000);

    // One pass for both.
    expect(scans.slice(2)).toEqual(['*']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(scans).toHaveLength(3);
  });
});
