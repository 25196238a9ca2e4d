import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { bedOf, clientsOf, eventually } from '../support/faults/bed.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

describe.concurrent('a server that is killed', () => {
  it('is listened to again after a restart, flags and all, and the gap is told', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);
    await ledger.expire(100);
    await ledger.settle(app);

    const killedAt = Date.now();
    await server.kill();
    await app.reaches('connecting');
    expect(app.node.lastGap?.to).toBeUndefined();
    expect(app.node.patterns).toEqual([]);
    const restartedAt = Date.now();
    await server.restart();
    const [, flags] = (await admin.config(
      'GET',
      'notify-keyspace-events',
    )) as string[];
    await app.recovers(0);

    const { lastGap, gaps, address } = app.node;
    expect(gaps).toBe(1);
    expect(lastGap?.node).toBe(address);
    expect(address).toBe(`127.0.0.1:${server.port}`);
    expect(lastGap!.from.getTime()).toBeLessThanOrEqual(killedAt);
    expect(lastGap!.from.getTime()).toBeGreaterThan(killedAt - 6_000);
    expect(lastGap!.to!.getTime()).toBeGreaterThanOrEqual(restartedAt);
    expect(lastGap!.reason).not.toBe('');
    expect(app.node.patterns).toEqual(['*']);
    // Lost with the server, and set again by the module.
    expect(['', app.node.flags]).toContain(flags);
    const [, flagsNow] = (await admin.config(
      'GET',
      'notify-keyspace-events',
    )) as string[];
    expect(flagsNow).toMatch(/x/);
    expect(flagsNow).toMatch(/[KE]/);

    await ledger.expire(200);
    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 300, handled: 300, lostInGap: 0 });
    expect(app.log.filter((l) => l.level === 'warn').length).toBeGreaterThan(0);
  });

  it('is found again after more than 10 s, and each key until then is accounted for', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);
    await ledger.expire(50);

    await server.kill();
    await app.reaches('connecting');
    await delay(11_000);
    expect(app.node).toMatchObject({ state: 'connecting', gaps: 1 });
    expect(app.node.lastError).toMatch(/ECONNREFUSED/);
    await server.restart();
    // Some of these are lost: the server is up before the module is back.
    while (app.state !== 'listening') await ledger.expire(1);
    await ledger.expire(100);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBeGreaterThanOrEqual(150);
    expect(app.node.gaps).toBe(1);
  });

  it('may die again and again', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);

    for (let round = 1; round <= 5; round++) {
      await server.kill();
      await server.restart();
      await app.recovers(round - 1);
      await ledger.expire(20);
      // Heard before the next kill, which takes along what the server has not sent yet.
      await eventually(() => expect(app.calls.size).toBe(20 * round));
    }

    await ledger.settle(app);
    expect(app.node.gaps).toBe(5);
    expect(await clientsOf(admin, app.name)).toHaveLength(2);
  });

  it('loses the keys it had: none of those is taken for expired', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    await admin.set('lost:1', '1', 'PX', 300);

    await server.kill();
    await server.restart();
    await app.recovers(0);
    await delay(500);
    const ledger = new KeyLedger(admin);
    await ledger.expire(1);
    await ledger.settle(app);

    const others = [...app.calls.keys()].filter(
      (key) => !key.startsWith(ledger.prefix),
    );
    expect(others).toEqual([]);
  });

  it('brings the flags back for a channel pattern of the user', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const heard: string[] = [];
    await app.subscriber.psubscribe('__keyevent@0__:del', (_, __, key) =>
      heard.push(key),
    );

    await server.kill();
    await server.restart();
    await app.recovers(0);
    await admin.set('gone', '1');
    await admin.del('gone');
    await eventually(() => expect(heard).toEqual(['gone']));
  });

  it('takes subscriptions while it is away, and ends them', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url, pattern: 'app:*' });
    const heard: string[] = [];
    const old = await app.subscriber.subscribe('old:*', ({ key }) =>
      heard.push(key),
    );
    const stream: string[] = [];
    const streaming = app.subscriber
      .expirations('s:*')
      .subscribe(({ key }) => stream.push(key));
    await eventually(() => expect(app.node.patterns).toContain('s:*'));

    await server.kill();
    await app.reaches('connecting');
    let resolved = false;
    const adding = app.subscriber
      .subscribe('new:*', ({ key }) => heard.push(key))
      .then(() => (resolved = true));
    await old.unsubscribe();
    await delay(200);
    expect(resolved).toBe(false);
    await server.restart();
    await adding;

    expect(app.state).toBe('listening');
    expect(app.node.patterns.toSorted()).toEqual(['app:*', 'new:*', 's:*']);
    for (const key of ['old:1', 'new:1', 's:1', 'app:1'])
      await admin.set(key, '1', 'PX', 1);
    await eventually(async () => {
      expect(await admin.dbsize()).toBe(0);
      expect([...heard, ...stream, ...app.calls.keys()].toSorted()).toEqual([
        'app:1',
        'new:1',
        's:1',
      ]);
    });
    streaming.unsubscribe();
  });
});
