import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { bedOf, eventually } from '../support/faults/bed.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

const BLOCKER = 'blocker';

/** Holds up the event loop. */
function block(ms: number): void {
  const until = Date.now() + ms;
  while (Date.now() < until);
}

/** A server that removes no key until `expireAll`, so that all are due before the first is announced. */
const ARGS = ['--hz', '500', '--enable-debug-command', 'local'];

/** Sets keys that are due at once. */
async function setDue(redis: Redis, keys: readonly string[]): Promise<void> {
  await redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  for (let i = 0; i < keys.length; i += 10_000) {
    const pipeline = redis.pipeline();
    for (const key of keys.slice(i, i + 10_000)) pipeline.set(key, '', 'PX', 1);
    await pipeline.exec();
  }
}

/** Lets Redis announce all that is due; first, if asked, the key whose handler blocks. */
async function expireAll(redis: Redis, first?: string): Promise<void> {
  const pipeline = redis.pipeline();
  if (first !== undefined) {
    await redis.set(first, '', 'PX', 1);
    await delay(5);
    pipeline.exists(first);
  }
  await pipeline.call('DEBUG', 'SET-ACTIVE-EXPIRE', '1').exec();
}

const emptied = (redis: Redis): Promise<void> =>
  eventually(async () => expect(await redis.dbsize()).toBe(0));

// One after the other: each holds up the process that the tests share.
describe('more expiries than the process can take', () => {
  it('100,000 while a handler blocks the event loop for 10 s: none is lost unreported', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ARGS });
    const admin = bed.admin(server);
    let handledBefore = Infinity;
    const app = await bed.app({
      connection: server.url,
      work: ({ key }) => {
        if (key !== BLOCKER) return;
        handledBefore = app.calls.size;
        block(10_000);
      },
    });
    const ledger = new KeyLedger(admin);
    const keys = ledger.newKeys(100_000);
    await setDue(admin, keys);
    const from = Date.now();
    await expireAll(admin, BLOCKER);
    await emptied(admin);
    ledger.note(keys, from);

    const audit = await ledger.settle(app);
    // The others were announced behind the back of a process that was blocked.
    expect(handledBefore).toBeLessThan(50_000);
    expect(audit.expired).toBe(100_000);
    expect(audit.handled + audit.lostInGap).toBe(100_000);
    // The server's own limit (32 MB) is not reached: all of them come through.
    expect(audit.handled).toBe(100_000);
    expect(app.node.gaps).toBe(0);
    expect(app.status.counters).toMatchObject({
      received: 100_002,
      handled: 100_002,
      superseded: 0,
      dropped: 0,
      failed: 0,
    });
  }, 180_000);

  it('and than the server keeps for a slow listener: it is cut off, and that is a gap', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ARGS });
    const admin = bed.admin(server);
    await admin.config(
      'SET',
      'client-output-buffer-limit',
      'pubsub 1mb 512kb 1',
    );
    const app = await bed.app({
      connection: server.url,
      work: ({ key }) => {
        if (key === BLOCKER) block(10_000);
      },
    });
    const ledger = new KeyLedger(admin);
    const padding = 'x'.repeat(250);
    const keys = ledger.newKeys(100_000).map((key) => `${key}:${padding}`);
    await setDue(admin, keys);
    const from = Date.now();
    await expireAll(admin, BLOCKER);
    await emptied(admin);
    ledger.note(keys, from);
    await app.recovers(0);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBeGreaterThan(0);
    expect(audit.lostInGap).toBeGreaterThan(0);
    expect(audit.handled + audit.lostInGap).toBe(100_000);
    expect(app.node.gaps).toBe(1);
    expect(app.status.counters).toMatchObject({
      received: audit.handled + 2,
      handled: audit.handled + 2,
    });
    await ledger.expire(100);
    const after = await ledger.settle(app);
    expect(after.handled).toBe(audit.handled + 100);
  }, 180_000);

  it('and than the queue takes: each one dropped is counted, and it is logged', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ARGS });
    const admin = bed.admin(server);
    let running = 0;
    let most = 0;
    const app = await bed.app({
      connection: server.url,
      concurrency: 10,
      queueLimit: 1_000,
      work: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
      },
    });
    const ledger = new KeyLedger(admin);
    const keys = ledger.newKeys(20_000);
    await setDue(admin, keys);
    await expireAll(admin);
    await emptied(admin);

    await eventually(() => {
      const { counters, queued, running: busy } = app.status;
      expect(counters.received).toBe(20_000);
      expect({ queued, busy }).toEqual({ queued: 0, busy: 0 });
    });
    const { handled, dropped, superseded, failed } = app.status.counters;
    expect(dropped).toBeGreaterThan(0);
    expect(handled).toBeGreaterThanOrEqual(1_000);
    expect(handled + dropped).toBe(20_000);
    expect({ superseded, failed }).toEqual({ superseded: 0, failed: 0 });
    expect(app.calls.size).toBe(handled);
    expect(most).toBe(10);
    expect(app.node.gaps).toBe(0);
    // Not a line for each.
    const lines = app.log.filter(({ text }) => /queue/i.test(text));
    const full = lines.filter(({ level }) => level === 'error');
    expect(full.length).toBeGreaterThan(0);
    expect(full[0]!.text).toContain('queueLimit 1000');
    expect(lines.length).toBeLessThan(100);
    expect(lines.at(-1)!.level).toBe('warn');

    // There is room again.
    await ledger.expire(100);
    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(100);
  }, 180_000);

  it('with handlers that block it for 6 s again and again: is no gap', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({
      connection: server.url,
      concurrency: 1,
      work: ({ key }) => {
        if (key.startsWith(BLOCKER)) block(6_000);
      },
    });
    const ledger = new KeyLedger(admin);

    await admin.set(`${BLOCKER}:1`, '', 'PX', 100);
    await admin.set(`${BLOCKER}:2`, '', 'PX', 150);
    await eventually(() => {
      expect(app.calls.get(`${BLOCKER}:1`)).toBe(1);
      expect(app.calls.get(`${BLOCKER}:2`)).toBe(1);
    });
    await ledger.expire(100);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(100);
    expect(app.node.gaps).toBe(0);
  }, 180_000);
});
