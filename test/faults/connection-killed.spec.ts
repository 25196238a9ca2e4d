import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import {
  bedOf,
  clientsOf,
  eventually,
  immortalKeys,
  killClient,
} from '../support/faults/bed.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

/** Kills connections of an application at the server. Returns how many there were. */
async function kill(
  admin: Redis,
  name: string,
  which: 'listeners' | 'all',
): Promise<number> {
  const clients = (await clientsOf(admin, name)).filter(
    ({ subscribed }) => which === 'all' || subscribed,
  );
  for (const { id } of clients) await killClient(admin, id);
  return clients.length;
}

describe.concurrent('a connection that is killed', () => {
  it('is replaced, each time, when it is the listener', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);

    for (let round = 1; round <= 10; round++) {
      const killedAt = Date.now();
      expect(await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')).toBe(1);
      await app.recovers(round - 1);
      expect(app.node.gaps).toBe(round);
      expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(killedAt);
      expect(app.node.lastGap!.to!.getTime()).toBeGreaterThanOrEqual(killedAt);
      await ledger.expire(20);
      await eventually(() => expect(app.calls.size).toBe(20 * round));
    }

    await ledger.settle(app);
    expect(await clientsOf(admin, app.name)).toHaveLength(2);
  });

  it('is replaced when it is any of them', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);

    for (let round = 1; round <= 5; round++) {
      expect(await kill(admin, app.name, 'all')).toBeGreaterThanOrEqual(1);
      await app.recovers(round - 1);
      await ledger.expire(20);
      await eventually(() => expect(app.calls.size).toBe(20 * round));
    }

    await ledger.settle(app);
    expect(app.node.gaps).toBe(5);
  });

  it('costs no key and is no gap when it is not the listener', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server();
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);

    for (let round = 0; round < 20; round++) {
      const expiring = ledger.expire(50);
      for (const { id, subscribed } of await clientsOf(admin, app.name))
        if (!subscribed) await killClient(admin, id);
      await expiring;
    }

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 1000, handled: 1000 });
    expect(app.node.gaps).toBe(0);
  });

  it.for([['listeners'], ['all']] as const)(
    'loses no key unreported while %s are killed over and over',
    async ([which], t) => {
      const bed = bedOf(t);
      const server = await bed.server();
      const admin = bed.admin(server);
      const app = await bed.app({ connection: server.url });
      const ledger = new KeyLedger(admin);
      const until = Date.now() + 15_000;

      const expiring = (async () => {
        while (Date.now() < until) await ledger.expire(20);
      })();
      let kills = 0;
      // Short lives and longer ones: after 2 s the proof of listening is a PING's.
      for (const life of lives()) {
        await delay(Math.min(life, Math.max(0, until - Date.now())));
        if (Date.now() >= until) break;
        kills += await kill(admin, app.name, which);
      }
      await expiring;
      await app.reaches('listening');
      await ledger.expire(20);

      const audit = await ledger.settle(app);
      console.log(
        `${kills} kills: ${audit.handled} of ${audit.expired} handled, ${audit.lostInGap} lost in gaps`,
      );
      expect(kills).toBeGreaterThan(0);
      expect(audit.handled).toBeGreaterThan(0);
      expect(audit.handled + audit.lostInGap).toBe(audit.expired);
      expect(app.status.counters).toMatchObject({
        // The last key that `settle` adds is counted there too.
        handled: audit.handled + 1,
        received: audit.handled + 1,
        superseded: 0,
        dropped: 0,
      });
      expect(app.node.gaps).toBe(app.gaps.length);
      // No key of the module's own stays behind, wherever its self-test was interrupted.
      expect(await immortalKeys(admin)).toEqual([]);
    },
  );

  it('costs no key and is no gap when the server closes what is idle', async (t) => {
    const bed = bedOf(t);
    const server = await bed.server({ args: ['--timeout', '1'] });
    const admin = bed.admin(server);
    const app = await bed.app({ connection: server.url });
    const ledger = new KeyLedger(admin);

    for (let round = 0; round < 3; round++) {
      await delay(1_700);
      await ledger.expire(20);
    }

    const audit = await ledger.settle(app);
    expect(audit).toMatchObject({ expired: 60, handled: 60 });
    expect(app.node.gaps).toBe(0);
  });
});

function* lives(): Generator<number> {
  for (;;) yield* [5, 50, 100, 300, 1_000, 20, 2_500, 150, 3_200, 70];
}
