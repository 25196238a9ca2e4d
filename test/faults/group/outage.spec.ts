import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { collect } from '../../support/collect.js';
import { bedOf, eventually } from '../../support/faults/bed.js';
import type { TcpProxy } from '../../support/faults/tcp-proxy.js';
import { paced } from '../../support/paced.js';
import type { RedisServer } from '../../support/redis/redis-server.mjs';

/** Ms each way: what is answered within a millisecond hides who trusts an old answer. */
const LATENCY = 4;
/** Ms for which Redis keeps the lease for who holds it. */
const LEASE = 2_000;

/** What begins an outage and what ends it. */
const OUTAGES: [
  name: string,
  begin: (server: RedisServer, proxy: TcpProxy) => unknown,
  end: (server: RedisServer, proxy: TcpProxy) => unknown,
][] = [
  [
    'whose server stands still',
    (server) => server.pause(),
    (server) => server.resume(),
  ],
  [
    'whose server is killed, and started again',
    (server) => server.kill(),
    (server) => server.restart(),
  ],
  [
    'whose network falls silent',
    (_, proxy) => proxy.silence(),
    async (_, proxy) => {
      await proxy.pass();
      proxy.cut();
    },
  ],
];

describe.concurrent('a group over a link of 4 ms each way', () => {
  it.for(OUTAGES)(
    '%s is led by nobody during the outage, and by one from its end on',
    { timeout: 180_000 },
    async ([, begin, end], context) => {
      const bed = bedOf(context);
      const server = await bed.server();
      const proxy = await bed.proxy(server, { latency: LATENCY });
      const admin = bed.admin(server);
      const events = collect<KeyExpiredEvent>();
      const options = {
        ...{ connection: proxy.url, group: 'presence', punctual: true },
        ...{ pattern: 'k*', work: events.add },
      };
      const apps = await Promise.all([0, 1, 2].map(() => bed.app(options)));
      /** Who leads, all the time; one more where that changes. */
      const reigns: number[][] = [];
      const leaders = (): number[] =>
        apps.flatMap(({ status }, i) => (status.groups[0]!.leads ? [i] : []));
      const look = (): number[] => {
        const now = leaders();
        if (String(now) !== String(reigns.at(-1))) reigns.push(now);
        return now;
      };
      const watching = setInterval(look, 1);
      bed.defer(() => clearInterval(watching));
      expect(look()).toHaveLength(1);

      await begin(server, proxy);
      await eventually(() => expect(look()).toEqual([]));
      // The requests for the lease that are under way are of no use by now.
      await delay(LEASE / 2);
      await end(server, proxy);
      const ended = performance.now();
      await eventually(() => expect(look()).toHaveLength(1));
      const took = performance.now() - ended;
      const before = reigns.length;
      // What is made and runs out before anybody listens, nobody hears of.
      await eventually(() =>
        expect(
          apps.flatMap(({ status }) => status.groups[0]!.nodes),
        ).toMatchObject([{ state: 'listening' }]),
      );
      // Over by the time in which it would have to be told by somebody else.
      await admin.set('k', '1', 'PX', LEASE / 2);
      const event = await events.one();

      expect(took).toBeLessThan(paced(LEASE));
      expect(event).toMatchObject({ key: 'k', source: 'notification' });
      expect(reigns.slice(before)).toEqual([]);
      expect(reigns.filter((all) => all.length > 1)).toEqual([]);
    },
  );
});
