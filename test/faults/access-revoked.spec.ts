import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { RedisExpiryError } from '../../lib/index.js';
import {
  bedOf,
  clientsOf,
  eventually,
  type FaultBed,
  immortalKeys,
  killClient,
} from '../support/faults/bed.js';
import type { ExpiryApp } from '../support/faults/expiry-app.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

interface Scene {
  admin: Redis;
  app: ExpiryApp;
  ledger: KeyLedger;
  /** Changes the rights of the user that the module logs in as. */
  grant: (...rules: string[]) => Promise<void>;
  killConnections: () => Promise<void>;
}

/** An application that logged in as a user of its own. */
async function scene(bed: FaultBed, ...rules: string[]): Promise<Scene> {
  const server = await bed.server();
  const admin = bed.admin(server);
  const grant = async (...more: string[]): Promise<void> => {
    await admin.acl('SETUSER', 'app', ...more);
  };
  await grant('on', '>first', '~*', '&*', '+@all', ...rules);
  const app = await bed.app({
    connection: {
      host: '127.0.0.1',
      port: server.port,
      username: 'app',
      password: 'first',
    },
  });
  const killConnections = async (): Promise<void> => {
    for (const { id } of await clientsOf(admin, app.name))
      await killClient(admin, id);
  };
  return { admin, app, ledger: new KeyLedger(admin), grant, killConnections };
}

describe.concurrent('access that is revoked while the module runs', () => {
  it('to the channels: shows it as refused, and recovers when granted again', async (t) => {
    const bed = bedOf(t);
    const { admin, app, ledger, grant } = await scene(bed);
    await ledger.expire(10);
    await eventually(() => expect(app.calls.size).toBe(10));

    const revokedAt = Date.now();
    // Redis closes a connection that holds a subscription which is not allowed any more.
    await grant('resetchannels');
    await app.reaches('refused');
    expect(app.node.refused).toEqual([
      { pattern: '*', reason: expect.stringContaining('NOPERM') as string },
    ]);
    expect(app.node.patterns).toEqual([]);
    expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(revokedAt);
    await expect(
      app.subscriber.subscribe('other:*', () => undefined),
    ).rejects.toMatchObject({
      code: 'SUBSCRIPTION_REFUSED',
    } satisfies Partial<RedisExpiryError>);

    // No reconnecting in a loop: it is tried again on the connection that there is.
    const [before] = await clientsOf(admin, app.name);
    await delay(6_000);
    expect((await clientsOf(admin, app.name))[0]!.id).toBe(before!.id);
    expect(app.state).toBe('refused');

    await grant('allchannels');
    await app.reaches('listening');
    expect(app.node.refused).toEqual([]);
    await ledger.expire(10);
    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 20, handled: 20 });
  });

  it('to the channels: what expires until they are granted again is in the gap', async (t) => {
    const bed = bedOf(t);
    const { app, ledger, grant } = await scene(bed);

    await grant('resetchannels');
    await app.reaches('refused');
    await delay(500);
    await ledger.expire(10);
    await delay(500);
    const grantedAt = Date.now();
    await grant('allchannels');
    await app.reaches('listening');

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ lostInGap: 10 });
    expect(app.node.lastGap!.to!.getTime()).toBeGreaterThanOrEqual(grantedAt);
  });

  it('to one of several patterns: the others go on', async (t) => {
    const bed = bedOf(t);
    const { admin, app, ledger, grant } = await scene(bed);
    const heard: string[] = [];
    await app.subscriber.psubscribe('__keyevent@0__:del', (_, __, key) =>
      heard.push(key),
    );

    await grant(
      'resetchannels',
      '&__keyspace@0__:*',
      '&__keyevent@0__:expired',
    );
    await app.reaches('refused');
    expect(app.node.refused.map(({ pattern }) => pattern)).toEqual([
      '__keyevent@0__:del',
    ]);
    expect(app.node.patterns).toEqual(['*']);
    await ledger.expire(10);
    await ledger.settle(app);
    expect(app.calls.size).toBeGreaterThanOrEqual(10);

    await grant('allchannels');
    await app.reaches('listening');
    await admin.set('gone', '1');
    await admin.del('gone');
    await eventually(() => expect(heard).toEqual(['gone']));
  });

  it('to CONFIG: goes on listening, also after a reconnect', async (t) => {
    const bed = bedOf(t);
    const { app, ledger, grant, killConnections } = await scene(bed);

    await grant('-config');
    // Two periodic checks, of 15 s each at most.
    await eventually(() => expect(app.node.flags).toBeUndefined(), 20_000);
    expect(app.state).toBe('listening');
    await ledger.expire(10);
    await killConnections();
    await app.recovers(0);
    expect(app.node.selfTest).toBe('passed');
    await ledger.expire(10);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBeGreaterThanOrEqual(10);
    expect(app.node.gaps).toBe(1);
  });

  it('to CONFIG, and the flags are taken away then: shows it as deaf', async (t) => {
    const bed = bedOf(t);
    const { admin, app, ledger, grant } = await scene(bed);

    await grant('-config');
    await admin.config('SET', 'notify-keyspace-events', '');
    const removedAt = Date.now();
    await app.reaches('deaf');
    expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(removedAt);
    await ledger.expire(10);

    await admin.config('SET', 'notify-keyspace-events', 'Ex');
    await app.reaches('listening');
    const audit = await ledger.settle(app);
    expect(audit.lostInGap).toBe(10);
  });

  it('to EXISTS: handlers run all the same, with a warning', async (t) => {
    const bed = bedOf(t);
    const { app, ledger, grant } = await scene(bed);

    await grant('-exists');
    await ledger.expire(10);
    const audit = await ledger.settle(app);

    expect(audit.handled).toBe(10);
    const warnings = app.log.filter(({ text }) => /EXISTS/.test(text));
    expect(warnings.map(({ level }) => level)).toEqual(['warn']);
  });

  it('to PING: a refusal is an answer, and the connection is kept', async (t) => {
    const bed = bedOf(t);
    const { app, ledger, grant } = await scene(bed);

    await grant('-ping');
    // Silence would be found within 7 s.
    await delay(9_000);
    await ledger.expire(10);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(10);
    expect(app.node.gaps).toBe(0);
  });

  it('to SET: the self-test leaves no key behind for ever', async (t) => {
    const bed = bedOf(t);
    const { admin, app, ledger, grant, killConnections } = await scene(bed);

    await grant('-set');
    await killConnections();
    await app.recovers(0);
    await ledger.expire(10);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(10);
    expect(await immortalKeys(admin)).toEqual([]);
  });

  it.for([
    [['+@read', '+psubscribe', '+subscribe', '+info']],
    [['+@read', '+@pubsub', '+info', '+ping']],
  ])(
    'to everything but %j: goes on, also after a reconnect',
    async ([rules], t) => {
      const bed = bedOf(t);
      const { app, ledger, grant, killConnections } = await scene(bed);

      await grant('-@all', ...rules!);
      await killConnections();
      await app.recovers(0);
      await ledger.expire(10);

      const audit = await ledger.settle(app);
      expect(audit.handled).toBe(10);
    },
  );

  it('as the password changes: reconnects once the old one is good again', async (t) => {
    const bed = bedOf(t);
    const { app, ledger, grant, killConnections } = await scene(bed);

    await grant('resetpass', '>second');
    // Connections that are logged in stay.
    await ledger.expire(10);
    await ledger.settle(app);
    expect(app.node.gaps).toBe(0);

    await killConnections();
    await eventually(() => expect(app.node.lastError).toMatch(/WRONGPASS/));
    expect(app.state).toBe('connecting');
    await ledger.expire(10);
    await delay(3_000);
    expect(app.node).toMatchObject({ state: 'connecting', gaps: 1 });

    await grant('>first');
    await app.recovers(0);
    await ledger.expire(10);
    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ handled: 20, lostInGap: 10 });
  });

  it('as the user is deleted: reconnects once there is one again', async (t) => {
    const bed = bedOf(t);
    const { admin, app, ledger, grant } = await scene(bed);

    // Redis closes the connections of a user that it deletes.
    await admin.acl('DELUSER', 'app');
    await eventually(() => expect(app.node.lastError).toMatch(/WRONGPASS/));
    await grant('on', '>first', '~*', '&*', '+@all');
    await app.recovers(0);
    await ledger.expire(10);

    const audit = await ledger.settle(app);
    expect(audit.handled).toBe(10);
  });
});
