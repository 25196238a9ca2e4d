import { describe, expect, it } from 'vitest';
import { bedOf } from '../support/faults/bed.js';
import { Pair } from '../support/faults/failover.js';
import { KeyLedger } from '../support/faults/key-ledger.js';

describe.concurrent(
  'a primary that becomes a replica under open connections',
  () => {
    // The last PING proves nothing: the server answered it as a replica.
    it(
      'is told with a gap that begins when it was demoted',
      { timeout: 240_000 },
      async (t) => {
        const bed = bedOf(t);
        const server = await bed.server();
        const pair = await Pair.of(bed, server);
        await pair.secondAdmin.config('SET', 'notify-keyspace-events', 'Kx');
        const proxy = await bed.proxy(server);
        const app = await bed.app({ connection: proxy.url });

        await pair.swap();
        proxy.leadTo(pair.second.port);
        const ledger = new KeyLedger(pair.secondAdmin);
        const until = Date.now() + 45_000;
        while (app.node.gaps === 0 || app.state !== 'listening') {
          expect(Date.now()).toBeLessThan(until);
          await ledger.expire(5);
        }
        await ledger.expire(50);
        const { lostUnreported } = await ledger.settle(app);
        expect(lostUnreported).toHaveLength(0);
      },
    );

    // The command connection may still lead to the old server, whose flags say nothing of the new one.
    it(
      'is not listened to again before the new primary announces expiries',
      { timeout: 240_000 },
      async (t) => {
        const bed = bedOf(t);
        const server = await bed.server();
        const pair = await Pair.of(bed, server);
        const proxy = await bed.proxy(server);
        const app = await bed.app({ connection: proxy.url });

        await pair.swap();
        proxy.leadTo(pair.second.port);
        await app.recovers(0);

        const [, flags] = (await pair.secondAdmin.config(
          'GET',
          'notify-keyspace-events',
        )) as string[];
        expect(flags).toMatch(/x/);
      },
    );
  },
);
