import type {
  RedisExpiryStatus,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import { Counter, Gauge, type Registry } from 'prom-client';

type Row = [value: number | undefined, labels?: Record<string, string>];

/** Makes metrics of status(), which is read at each scrape. */
export function exposeExpiry(
  register: Registry,
  subscriber: Pick<RedisExpirySubscriber, 'status'>,
): void {
  const add = (
    Kind: typeof Counter | typeof Gauge,
    name: string,
    labelNames: string[],
    rows: (status: RedisExpiryStatus) => Row[],
  ): unknown =>
    new Kind({
      ...{ name: `redis_expiry_${name}`, help: `${name} of expiries` },
      ...{ labelNames, registers: [register] },
      collect(this: Counter | Gauge) {
        this.reset();
        for (const [value, labels = {}] of rows(subscriber.status()))
          if (value !== undefined) this.inc(labels, value);
      },
    });

  add(Counter, 'events_total', ['outcome'], ({ counters }) =>
    Object.entries(counters).map(([outcome, count]) => [count, { outcome }]),
  );
  // A histogram, which Prometheus knows by the names of its parts.
  add(Counter, 'lateness_seconds_bucket', ['le'], ({ lateness }) => {
    const { boundaries, counts } = lateness.histogram;
    let below = 0;
    return counts.map((count, i) => {
      below += count;
      return [below, { le: String(boundaries[i] ?? '+Inf') }];
    });
  });
  add(Counter, 'lateness_seconds_sum', [], (s) => [[s.lateness.histogram.sum]]);
  add(Counter, 'lateness_seconds_count', [], ({ lateness }) => [
    [lateness.histogram.count],
  ]);
  add(Counter, 'gaps_total', [], ({ gaps }) => [[gaps.count]]);
  add(Counter, 'gap_seconds_total', [], ({ gaps }) => [[gaps.seconds]]);
  add(Gauge, 'nodes', ['state'], ({ nodes, groups }) =>
    [...nodes, ...groups.flatMap((group) => group.nodes)].map(({ state }) => [
      ...([1, { state }] as const),
    ]),
  );
  add(Gauge, 'backlog', ['group', 'state'], ({ groups }) =>
    groups.flatMap((each) =>
      (['waiting', 'pending', 'inGrace', 'retrying', 'dead'] as const).map(
        (state): Row => [each[state], { group: each.group, state }],
      ),
    ),
  );
  add(Gauge, 'keys_tracked', ['group'], ({ groups }) =>
    groups.map(({ group, tracked }) => [tracked, { group }]),
  );
  add(Gauge, 'leading', ['group'], ({ groups }) =>
    groups.map(({ group, leads }) => [Number(leads), { group }]),
  );
}
