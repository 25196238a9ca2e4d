import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { bedOf, eventually } from '../support/faults/bed.js';
import { KeyLedger } from '../support/faults/key-ledger.js';
import { paced } from '../support/paced.js';

/** The periodic check comes every 15 s. */
const CHECKED = paced(20_000);

const PARAMETER = 'notify-keyspace-events';

const flagsOf = async (admin: Redis): Promise<string> =>
  ((await admin.config('GET', PARAMETER)) as string[])[1]!;

describe.concurrent(
  'notify-keyspace-events overwritten by another application',
  () => {
    it.for([
      ['all of them', ''],
      ['the family that is listened on', 'Ex'],
      ['the class of expiries', 'KEg$'],
    ] as const)(
      'without %s: no key is lost unreported, and it is mended',
      async ([, value], t) => {
        const bed = bedOf(t);
        const server = await bed.server();
        const admin = bed.admin(server);
        const app = await bed.app({ connection: server.url });
        const ledger = new KeyLedger(admin);
        await ledger.expire(20);
        await eventually(() => expect(app.calls.size).toBe(20));

        const overwrittenAt = Date.now();
        await admin.config('SET', PARAMETER, value);
        // From here on one key every 100 ms, of which the first are lost, until one is handled again.
        const before = app.calls.size;
        while (app.calls.size === before) {
          expect(Date.now() - overwrittenAt).toBeLessThan(CHECKED);
          await ledger.expire(1);
          await delay(100);
        }
        await ledger.expire(20);

        const audit = await ledger.settle(app);
        expect(audit.handled).toBeGreaterThanOrEqual(40);
        expect(app.node).toMatchObject({ state: 'listening', gaps: 1 });
        const { from, to } = app.node.lastGap!;
        expect(from.getTime()).toBeLessThanOrEqual(overwrittenAt);
        expect(to!.getTime()).toBeGreaterThan(overwrittenAt);
        // What the other application set is left in place.
        const flags = await flagsOf(admin);
        for (const letter of value) expect(flags).toContain(letter);
      },
    );

    it('with more flags: nothing is lost', async (t) => {
      const bed = bedOf(t);
      const server = await bed.server();
      const admin = bed.admin(server);
      const app = await bed.app({ connection: server.url });
      const ledger = new KeyLedger(admin);

      await admin.config('SET', PARAMETER, 'KEA');
      const overwrittenAt = Date.now();
      await ledger.expire(50);
      while (app.node.flags !== (await flagsOf(admin))) {
        expect(Date.now() - overwrittenAt).toBeLessThan(CHECKED);
        await ledger.expire(10);
        await delay(50);
      }
      await ledger.expire(50);

      const audit = await ledger.settle(app);
      expect(audit.handled).toBe(audit.expired);
      expect(app.node.gaps).toBe(0);
    });

    it("with notifications: 'verify': shows it as deaf, and writes nothing", async (t) => {
      const bed = bedOf(t);
      const server = await bed.server({ args: [`--${PARAMETER}`, 'Kx'] });
      const admin = bed.admin(server);
      const app = await bed.app({
        connection: server.url,
        notifications: 'verify',
      });
      const ledger = new KeyLedger(admin);

      await admin.config('SET', PARAMETER, '');
      const overwrittenAt = Date.now();
      await app.reaches('deaf', CHECKED);
      expect(app.node.missingFlags).not.toBe('');
      expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(
        overwrittenAt,
      );
      expect(app.node.lastGap!.to).toBeUndefined();
      await ledger.expire(10);
      expect(await flagsOf(admin)).toBe('');

      await admin.config('SET', PARAMETER, 'Kx');
      await app.reaches('listening');
      await ledger.expire(10);
      const audit = await ledger.settle(app);
      expect(audit).toMatchObject({ handled: 10, lostInGap: 10 });
    });

    it("with notifications: 'verify', by the other family of channels: it is listened on from then on", async (t) => {
      const bed = bedOf(t);
      const server = await bed.server({ args: [`--${PARAMETER}`, 'Kx'] });
      const admin = bed.admin(server);
      const app = await bed.app({
        connection: server.url,
        notifications: 'verify',
      });
      const ledger = new KeyLedger(admin);
      await ledger.expire(10);
      await eventually(() => expect(app.calls.size).toBe(10));

      const overwrittenAt = Date.now();
      await admin.config('SET', PARAMETER, 'Ex');
      while (app.calls.size === 10) {
        expect(Date.now() - overwrittenAt).toBeLessThan(CHECKED);
        await ledger.expire(1);
        await delay(100);
      }
      await ledger.expire(10);

      const audit = await ledger.settle(app);
      expect(audit.handled).toBeGreaterThan(20);
      expect(app.node).toMatchObject({ state: 'listening', gaps: 1 });
      expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(
        overwrittenAt,
      );
      expect(await flagsOf(admin)).toBe('xE');
    });

    it('so that a channel of the user carries nothing: no message is lost unreported', async (t) => {
      const bed = bedOf(t);
      const server = await bed.server();
      const admin = bed.admin(server);
      const app = await bed.app({ connection: server.url });
      const heard: string[] = [];
      await app.subscriber.psubscribe('__keyevent@0__:del', (_, __, key) =>
        heard.push(key),
      );
      const { gaps } = app.node;

      const overwrittenAt = Date.now();
      await admin.config('SET', PARAMETER, 'Kx');
      await eventually(async () => {
        await admin.set('gone', '1');
        await admin.del('gone');
        expect(heard).not.toEqual([]);
      }, CHECKED);
      // The flags are there before the module has looked whether they help.
      await eventually(() => expect(app.node.gaps).toBe(gaps + 1));
      expect(app.node.lastGap!.from.getTime()).toBeLessThanOrEqual(
        overwrittenAt,
      );
    });

    it('by the module itself, for a channel of the user: is no gap', async (t) => {
      const bed = bedOf(t);
      const server = await bed.server();
      const app = await bed.app({ connection: server.url });

      await app.subscriber.psubscribe('__keyevent@0__:del', () => undefined);

      expect(app.node.flags).toMatch(/g/);
      expect(app.node.gaps).toBe(0);
    });
  },
);
