import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Watchdog,
  type WatchdogOptions,
} from '../../../lib/connection/watchdog.js';
import { collect } from '../../support/collect.js';
import { deferred, eventually } from '../../support/eventually.js';
import { paced } from '../../support/paced.js';
import { connect, useServer } from '../../support/servers.js';

const server = useServer();
const watchdogs: Watchdog[] = [];

afterEach(() => {
  for (const watchdog of watchdogs.splice(0)) watchdog.stop();
});

function watch(options: Partial<WatchdogOptions>) {
  const silences = collect<Error>();
  const watchdog = new Watchdog({
    ping: () => Promise.resolve(),
    onSilence: silences.add,
    interval: 10,
    timeout: 30,
    ...options,
  });
  watchdogs.push(watchdog);
  return { watchdog, silences };
}

/** Holds up everything in this process. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** What the watchdog grants beyond its timeout, in ms. */
const GRACE = 1_000;

describe('Watchdog', () => {
  it('is content with a connection that answers, and keeps the proof', async () => {
    const redis = await connect(server);
    const { watchdog, silences } = watch({ ping: () => redis.ping() });

    const began = watchdog.lastProof;
    await eventually(() =>
      expect(watchdog.lastProof).toBeGreaterThan(began + 100),
    );

    expect(watchdog.lastProof).toBeLessThanOrEqual(Date.now());
    expect(silences.all).toEqual([]);
  });

  it('reports a connection that falls silent, once', async () => {
    const redis = await connect(server);
    let pings = 0;
    const { watchdog, silences } = watch({
      ping: () => {
        pings++;
        return redis.ping();
      },
    });
    const began = watchdog.lastProof;
    await eventually(() => expect(watchdog.lastProof).toBeGreaterThan(began));

    server.process.pause();
    try {
      const stopped = Date.now();
      const error = await silences.one();

      expect(error.message).toMatch(/no answer to PING within 30 ms/);
      expect(watchdog.lastProof).toBeLessThanOrEqual(stopped);
      expect(Date.now() - stopped).toBeLessThan(GRACE + paced(2_000));
      const pinged = pings;
      await delay(100);
      expect(pings).toBe(pinged);
      expect(silences.all).toHaveLength(1);
    } finally {
      server.process.resume();
    }
  });

  it('takes an answer that comes late, but within its grace', async () => {
    const answers = [deferred()];
    const { watchdog, silences } = watch({
      ping: () => answers.at(-1)!.promise,
    });
    const began = watchdog.lastProof;

    await delay(300);
    answers.push({ ...deferred(), promise: Promise.resolve() });
    answers[0]!.resolve();

    await eventually(() => expect(watchdog.lastProof).toBeGreaterThan(began));
    await delay(GRACE);
    expect(silences.all).toEqual([]);
  });

  it('does not take the blocked event loop for silence', async () => {
    const redis = await connect(server);
    const pinged = deferred();
    const { watchdog, silences } = watch({
      ping: () => {
        const answer = redis.ping();
        pinged.resolve();
        return answer;
      },
    });
    await pinged.promise;

    // The answer comes meanwhile; all of the watchdog's own time runs out before it can be read.
    block(GRACE + 200);

    const blockedUntil = Date.now();
    await eventually(() =>
      expect(watchdog.lastProof).toBeGreaterThan(blockedUntil),
    );
    expect(silences.all).toEqual([]);
  });

  it('counts a ping that rejects as unanswered', async () => {
    const { silences } = watch({
      ping: () => Promise.reject(new Error('closed')),
    });

    await expect(silences.one()).resolves.toBeInstanceOf(Error);
  });

  it('says nothing once it was stopped', async () => {
    let pings = 0;
    const pinged = deferred();
    const { watchdog, silences } = watch({
      ping: () => {
        pings++;
        pinged.resolve();
        return new Promise(() => {});
      },
    });
    await pinged.promise;

    watchdog.stop();
    await delay(GRACE + 100);

    expect(pings).toBe(1);
    expect(silences.all).toEqual([]);
  });

  it('pings no more when it is stopped while a ping is under way', async () => {
    const answer = deferred();
    let pings = 0;
    const { watchdog } = watch({
      ping: () => {
        pings++;
        return answer.promise;
      },
    });
    await eventually(() => expect(pings).toBe(1));

    watchdog.stop();
    answer.resolve();
    await delay(50);

    expect(pings).toBe(1);
  });
});
