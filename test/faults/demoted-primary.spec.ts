import { describe, expect, it } from 'vitest';
import { bedOf, eventually } from '../support/faults/bed.js';
import { Pair } from '../support/faults/failover.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

/** A role is looked at every 15 s. */
const NOTICED = 40_000;

describe.concurrent(
  'a primary that becomes a replica under open connections',
  () => {
    it(
      'is left for the new primary where the address leads there',
      { timeout: 180_000 },
      async (t) => {
        const bed = bedOf(t);
        const server = await bed.server();
        const pair = await Pair.of(bed, server);
        const proxy = await bed.proxy(server);
        const app = await bed.app({ connection: proxy.url });
        expect(app.node).toMatchObject({ state: 'listening', role: 'primary' });
        const before = new KeyLedger(pair.firstAdmin);
        await before.expire(50);
        expect(await before.settle(app)).toMatchObject({ handled: 50 });

        await pair.swap();
        proxy.leadTo(pair.second.port);
        await app.recovers(0, NOTICED);
        expect(app.node).toMatchObject({
          ...{ state: 'listening', role: 'primary', patterns: ['*'] },
          lastGap: { reason: expect.stringContaining('became a replica') },
        });
        // It was never asked to announce anything.
        await eventually(async () => {
          const [, flags] = (await pair.secondAdmin.config(
            'GET',
            'notify-keyspace-events',
          )) as string[];
          expect(flags).toMatch(/x/);
          expect(app.node).toMatchObject({ flags, missingFlags: '' });
        }, NOTICED);
        const after = new KeyLedger(pair.secondAdmin);
        await after.expire(50);

        expect(await after.settle(app)).toMatchObject({ handled: 50 });
      },
    );

    it(
      'is told of where the address leads to it all the same, and listened to again when it is promoted',
      { timeout: 240_000 },
      async (t) => {
        const bed = bedOf(t);
        const server = await bed.server();
        const pair = await Pair.of(bed, server);
        const app = await bed.app({ connection: server.url });

        await pair.swap();
        await eventually(
          () => expect(app.node).toMatchObject({ role: 'replica', gaps: 1 }),
          NOTICED,
        );
        const warnings = app.log.filter(({ text }) =>
          /is a replica/.test(text),
        );
        expect(warnings).toMatchObject([{ level: 'warn' }]);

        await pair.firstAdmin.replicaof('NO', 'ONE');
        await eventually(
          () =>
            expect(app.node).toMatchObject({
              ...{ role: 'primary', state: 'listening' },
            }),
          NOTICED,
        );
        const ledger = new KeyLedger(pair.firstAdmin);
        await ledger.expire(50);
        expect(await ledger.settle(app)).toMatchObject({ handled: 50 });
      },
    );
  },
);
