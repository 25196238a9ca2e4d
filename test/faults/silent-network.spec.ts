import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import {
  bedOf,
  clientsOf,
  eventually,
  killClient,
} from '../support/faults/bed.js';
import type { ExpiryApp } from '../support/faults/expiry-app.js';
import { KeyLedger } from '../support/faults/key-ledger.js';
import { paced } from '../support/paced.js';

/** A silent connection must be found within this many ms. */
const FOUND = paced(12_000);

const portsOf = async (
  admin: Redis,
  app: ExpiryApp,
  subscribed: boolean,
): Promise<number[]> =>
  (await clientsOf(admin, app.name))
    .filter((client) => client.subscribed === subscribed)
    .map(({ port }) => port);

describe.concurrent('a network that falls silent', () => {
  it('is found by PING, is a gap, and is got over when it passes again', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);
    await ledger.expire(20);
    await eventually(() => expect(app.calls.size).toBe(20));

    const silentAt = Date.now();
    proxy.silence();
    await ledger.expire(20);
    await eventually(() => expect(app.state).toBe('connecting'), FOUND);
    expect(app.node.lastError).toMatch(/PING/);
    expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(silentAt);
    expect(app.node.lastGap!.to).toBeUndefined();
    await ledger.expire(20);

    const passesAt = Date.now();
    await proxy.pass();
    // A try that began in the silence has connectTimeout (10 s) to find out.
    await app.recovers(0);
    expect(app.node.lastGap!.to!.getTime()).toBeGreaterThanOrEqual(passesAt);
    await ledger.expire(20);

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 80, handled: 40, lostInGap: 40 });
    expect(app.node.gaps).toBe(1);
  });

  it('is got over at once when only the connections that were open stay silent', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);

    proxy.silence();
    await proxy.pass();
    const silentAt = Date.now();
    while (app.node.gaps === 0 || app.state !== 'listening') {
      expect(Date.now() - silentAt).toBeLessThan(FOUND);
      await ledger.expire(5);
      await delay(20);
    }
    await ledger.expire(100);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBeGreaterThanOrEqual(100);
    expect(audit.lostInGap).toBeGreaterThan(0);
    expect(app.node.gaps).toBe(1);
    // No third connection; the silent ones were given up.
    expect(proxy.connections).toBe(2);
  });

  it('is found when it is silent for the listener alone', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);

    const silentAt = Date.now();
    proxy.silenceOnly(await portsOf(admin, app, true));
    await ledger.expire(20);
    await app.recovers(0, FOUND);
    expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(silentAt);
    await ledger.expire(20);

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 40, handled: 20, lostInGap: 20 });
  });

  it('delays handlers and loses nothing when it is silent for commands alone', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);

    proxy.silenceOnly(await portsOf(admin, app, false));
    await ledger.expire(500);
    await eventually(() => expect(app.calls.size).toBe(500), FOUND);

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 500, handled: 500 });
    expect(app.node.gaps).toBe(0);
  });

  it('leaves no looks behind that wait, however long commands have no connection', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const [commands] = (await clientsOf(admin, app.name)).filter(
      ({ subscribed }) => !subscribed,
    );

    await proxy.refuse();
    await killClient(admin, commands!.id);
    // A look is made after 5 s, and then every 15 s: four would wait by now.
    await delay(52_000);
    await admin.config('RESETSTAT');
    await proxy.pass();
    const looks = async (): Promise<number> => {
      const stats = await admin.info('commandstats');
      const [, calls = '0'] =
        /^cmdstat_config\|get:calls=(\d+)/m.exec(stats) ?? [];
      return Number(calls);
    };
    await eventually(async () => expect(await looks()).toBeGreaterThan(0));
    // Those that waited would be made one after the other, at once.
    await delay(500);

    expect(await looks()).toBeLessThanOrEqual(2);
    expect(app.node).toMatchObject({ state: 'listening', gaps: 0 });
  });

  it('is got over when it comes in the middle of a reconnect', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({
      connection: { host: '127.0.0.1', port: proxy.port, connectTimeout: 1500 },
    });
    const ledger = new KeyLedger(admin);

    proxy.silence();
    proxy.cut();
    await app.reaches('connecting');
    await eventually(() =>
      expect(app.node.lastError).toMatch(/1500|timed?.?out/i),
    );
    // It does not pile up connections, nor give up.
    const { accepted } = proxy;
    await eventually(() =>
      expect(proxy.accepted).toBeGreaterThan(accepted + 2),
    );
    expect(proxy.connections).toBeLessThanOrEqual(2);
    await proxy.pass();
    await app.recovers(0);
    await ledger.expire(50);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(50);
    expect(app.node.gaps).toBe(1);
    expect(proxy.connections).toBe(2);
  });

  it('that refuses and cuts is reconnected through for as long as it takes', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);

    for (let round = 1; round <= 3; round++) {
      await proxy.refuse();
      proxy.cut();
      await app.reaches('connecting');
      await ledger.expire(10);
      await proxy.pass();
      await app.recovers(round - 1);
      await ledger.expire(10);
      await eventually(() => expect(app.calls.size).toBe(10 * round));
    }

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ handled: 30, lostInGap: 30 });
    expect(app.node.gaps).toBe(3);
  });

  it('is not one that is slow: an answer behind 10 s of messages is no silence', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ['--hz', '500'] });
    const proxy = await bed.proxy(server);
    const admin = bed.admin(server);
    const app = await bed.app({ connection: proxy.url });
    const ledger = new KeyLedger(admin);

    proxy.throttle(150_000);
    const startedAt = Date.now();
    // About 100 bytes each.
    await ledger.expire(15_000);
    await eventually(() => expect(app.calls.size).toBe(15_000), 25_000);
    expect(Date.now() - startedAt).toBeGreaterThan(7_000);

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 15_000, handled: 15_000 });
    expect(app.node.gaps).toBe(0);
  });

  it('and a server that hangs for 3 s are no gap, and no key is lost', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);
    const frozen = ledger.newKeys(50);
    for (const key of frozen) await admin.set(key, '1', 'PX', 1_000);

    const stoppedAt = Date.now();
    server.pause();
    await delay(3_000);
    server.resume();
    await eventually(async () => expect(await admin.exists(frozen)).toBe(0));
    ledger.note(frozen, stoppedAt);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(50);
    expect(app.node.gaps).toBe(0);
  });

  it('and a server that hangs for 8 s lose no key unreported', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);
    await ledger.expire(20);
    await eventually(() => expect(app.calls.size).toBe(20));

    // These run out while nobody can say so.
    const frozen = ledger.newKeys(50);
    for (const key of frozen) await admin.set(key, '1', 'PX', 2_000);
    const stoppedAt = Date.now();
    server.pause();
    await delay(8_000);
    const resumedAt = Date.now();
    server.resume();
    await eventually(
      async () => expect(await admin.exists(frozen)).toBe(0),
      5_000,
    );
    ledger.note(frozen, resumedAt);
    await app.recovers(0);
    expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(stoppedAt);
    expect(app.node.lastGap!.to!.getTime()).toBeGreaterThanOrEqual(resumedAt);
    await ledger.expire(50);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBeGreaterThanOrEqual(70);
    expect(app.node.gaps).toBe(1);
    expect(await clientsOf(admin, app.name)).toHaveLength(2);
  });
});
