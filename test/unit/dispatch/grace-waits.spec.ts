import { beforeEach, describe, expect, it } from 'vitest';
import {
  type ExpiryCounters,
  newCounters,
} from '../../../lib/dispatch/counters.js';
import type { Expiry, ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import { GraceWaits } from '../../../lib/dispatch/grace-waits.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { VirtualTime } from '../../../lib/testing/virtual-time.js';
import { LogBook } from '../../support/logs.js';
import { Random } from '../../support/random.js';

const handlerOf = (grace: number): ExpiryHandler => ({
  ...{ name: `H${grace}`, glob: new RedisGlob('*'), grace },
  ...{ concurrency: 1, invoke: () => undefined },
});
const expiryOf = (key: string, lateness?: number): Expiry => ({
  ...{ redisKey: Buffer.from(key), key: Buffer.from(key), database: 0 },
  source: 'notification',
  ...(lateness !== undefined && { lateness }),
});

describe('GraceWaits', () => {
  let time: VirtualTime;
  let counters: ExpiryCounters;
  let logs: LogBook;
  let waits: GraceWaits;
  let began: number;
  /** What was offered, and how many ms after the beginning. */
  let offered: [handler: string, key: string, after: number][];

  const make = (limit = 100): void => {
    time = new VirtualTime();
    began = time.now;
    counters = newCounters();
    logs = new LogBook();
    offered = [];
    const offer = ({ name }: ExpiryHandler, expiry: Expiry): void => {
      expect(expiry.isAfterGrace).toBe(true);
      offered.push([name, expiry.key.toString(), time.now - began]);
    };
    waits = new GraceWaits({ offer }, limit, counters, logs, time);
  };
  const pass = (ms: number): void => {
    const until = time.now + ms;
    while (time.step(until));
  };
  beforeEach(() => make());

  it('offers each expiry when so many ms have passed since its deadline', () => {
    const [short, long] = [handlerOf(100), handlerOf(250)];
    waits.add(long, expiryOf('a', 50));
    waits.add(short, expiryOf('a', 50));
    waits.add(short, expiryOf('b'));
    waits.add(short, expiryOf('late', 100));
    expect(offered).toEqual([['H100', 'late', 0]]);
    expect(waits.size).toBe(3);
    pass(1_000);

    expect(offered.slice(1)).toEqual([
      ['H100', 'a', 50],
      ['H100', 'b', 100],
      ['H250', 'a', 200],
    ]);
    expect(waits.size).toBe(0);
    // The dispatcher counts what is offered.
    expect(counters).toEqual(newCounters());
  });

  it('gives up what waits of a key that is created', () => {
    const [short, long] = [handlerOf(100), handlerOf(250)];
    for (const handler of [short, long])
      for (const key of ['a', 'b']) waits.add(handler, expiryOf(key));
    waits.returned(Buffer.from('a'));
    waits.returned(Buffer.from('unknown'));
    pass(1_000);

    expect(offered.map(([, key]) => key)).toEqual(['b', 'b']);
    expect(counters).toMatchObject({ received: 2, cameBack: 2 });
  });

  it('gives up what waits of a key that runs out again, and counts from that', () => {
    const handler = handlerOf(100);
    waits.add(handler, expiryOf('a'));
    pass(60);
    waits.add(handler, expiryOf('a'));
    pass(60);
    expect(offered).toEqual([]);
    pass(1_000);

    expect(offered).toEqual([['H100', 'a', 160]]);
    expect(counters).toMatchObject({ received: 1, cameBack: 1 });
  });

  it('drops what is too much, what waits for a handler that is removed, and all at its end', () => {
    make(3);
    const [gone, kept] = [handlerOf(100), handlerOf(250)];
    waits.add(gone, expiryOf('a'));
    waits.add(kept, expiryOf('a'));
    waits.add(gone, expiryOf('b'));
    waits.add(kept, expiryOf('c'));
    waits.add(kept, expiryOf('d'));
    expect(counters).toMatchObject({ received: 2, dropped: 2 });
    expect(logs.texts('error', 'queueLimit')).toHaveLength(1);
    waits.remove(gone);
    expect(waits.size).toBe(1);
    waits.close();
    waits.close();
    waits.add(kept, expiryOf('e'));
    pass(1_000);

    expect(offered).toEqual([]);
    expect(counters).toMatchObject({ received: 6, dropped: 6 });
    expect(logs.texts('warn', 'dropped 1 event(s)')).toHaveLength(1);
    expect(waits.size).toBe(0);
  });

  it('keeps the order of what is due, and count of everything, whatever comes', () => {
    const random = new Random(5);
    const handlers = [handlerOf(50), handlerOf(70), handlerOf(400)];
    const last = new Map<string, number>();
    let added = 0;
    let wrong = 0;
    for (let i = 0; i < 3_000; i++) {
      const key = `k${random.below(41)}`;
      const dice = random.below(10);
      if (dice === 0) {
        waits.returned(Buffer.from(key));
        for (const { name } of handlers) last.delete(`${name} ${key}`);
      } else if (dice < 3) {
        const before = offered.length;
        pass(random.below(21));
        const fresh = offered.slice(before);
        const due = fresh.map(([name, each]) => last.get(`${name} ${each}`));
        wrong += due.filter((at, n) => at !== fresh[n]![2]).length;
        for (const [name, each] of fresh) last.delete(`${name} ${each}`);
      } else {
        const handler = random.pick(handlers);
        const lateness = random.below(41);
        const due = time.now - began + handler.grace! - lateness;
        waits.add(handler, expiryOf(key, lateness));
        last.set(`${handler.name} ${key}`, due);
        added++;
      }
      expect(waits.size).toBe(last.size);
    }
    expect(wrong).toBe(0);
    expect(counters.cameBack + offered.length + waits.size).toBe(added);
  });
});
