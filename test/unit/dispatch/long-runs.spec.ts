import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newCounters } from '../../../lib/dispatch/counters.js';
import { Dispatcher } from '../../../lib/dispatch/dispatcher.js';
import type { Expiry, ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { type Deferred, deferred, turns } from '../../support/eventually.js';
import { LogBook } from '../../support/logs.js';

const MINUTE = 60_000;

describe('a handler that does not end', () => {
  let logs: LogBook;
  let dispatcher: Dispatcher;
  let open: Map<string, Deferred>;

  beforeEach(() => {
    // The dispatcher's turns of the event loop are real.
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'],
      now: new Date('2026-01-01T00:00:00Z'),
    });
    logs = new LogBook();
    open = new Map();
    dispatcher = new Dispatcher(
      { concurrency: 100, queueLimit: 1_000 },
      {
        alive: () => Promise.resolve(new Set()),
        deadlines: (keys) => Promise.resolve(keys.map(() => 'gone')),
        placeOf: () => '',
      },
      newCounters(),
      logs,
    );
  });
  afterEach(() => vi.useRealTimers());

  const handler = (name: string, pattern: string): ExpiryHandler => ({
    name,
    glob: new RedisGlob(pattern),
    concurrency: Infinity,
    invoke: ({ key }) => {
      const run = deferred();
      open.set(key, run);
      return run.promise;
    },
  });

  const run = async (which: ExpiryHandler, ...keys: string[]) => {
    for (const key of keys) {
      const bytes = Buffer.from(key);
      const expiry: Expiry = {
        redisKey: bytes,
        key: bytes,
        database: 0,
        source: 'notification',
      };
      dispatcher.offer(which, expiry);
    }
    await turns(3);
  };

  const warnings = () => logs.texts('warn', 'has not ended');

  it('is told of once after a minute, and seen as long as it runs', async () => {
    const stuck = handler('Presence.onOffline', 'device:*');
    await run(stuck, 'device:1');
    await vi.advanceTimersByTimeAsync(MINUTE - 1);
    expect(warnings()).toEqual([]);
    expect(dispatcher.longRunning).toEqual([]);

    await vi.advanceTimersByTimeAsync(1);
    expect(warnings()).toEqual([
      expect.stringMatching(
        /^Presence\.onOffline has been running since 2026-01-01T00:00:00\.000Z on key "device:1" \(pattern "device:\*"\) and has not ended/,
      ),
    ]);
    expect(dispatcher.longRunning).toEqual([
      {
        handler: 'Presence.onOffline',
        pattern: 'device:*',
        count: 1,
        key: 'device:1',
        since: new Date('2026-01-01T00:00:00Z'),
      },
    ]);

    await vi.advanceTimersByTimeAsync(60 * MINUTE);
    expect(warnings()).toHaveLength(1);
    expect(dispatcher.longRunning).toMatchObject([{ count: 1 }]);
    open.get('device:1')!.resolve();
    await turns(3);
    expect(dispatcher.longRunning).toEqual([]);
  });

  it('and others of it that are stuck are told of in one line, by one timer', async () => {
    const [one, other] = [handler('One.run', 'a*'), handler('Other.run', '*')];
    await run(one, ...Array.from({ length: 50 }, (_, i) => `a${i}`));
    await run(other, 'b');
    expect(vi.getTimerCount()).toBe(1);

    await vi.advanceTimersByTimeAsync(MINUTE);

    expect(warnings()).toEqual([
      expect.stringMatching(/^One\.run .* on key "a0" and on 49 more/),
      expect.stringMatching(/^Other\.run .* on key "b" \(/),
    ]);
    expect(dispatcher.longRunning).toMatchObject([
      { handler: 'One.run', count: 50 },
      { handler: 'Other.run', count: 1 },
    ]);
    // There is nothing left to tell.
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is not told of if it ends in time, and holds up no other that does not', async () => {
    const which = handler('One.run', '*');
    await run(which, 'a');
    await vi.advanceTimersByTimeAsync(MINUTE / 2);
    await run(which, 'b');
    open.get('a')!.resolve();
    await turns(3);

    await vi.advanceTimersByTimeAsync(MINUTE / 2);
    expect(warnings()).toEqual([]);
    await vi.advanceTimersByTimeAsync(MINUTE / 2);

    expect(warnings()).toEqual([expect.stringContaining('on key "b" (')]);
  });
});
