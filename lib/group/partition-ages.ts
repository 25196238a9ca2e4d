import type { Commands } from '../connection/commands.js';
import type { GroupKeys } from './group-keys.js';
import { holderOf } from './leader-lease.js';

/** Who watches the deadlines of a partition, and how far behind it is; all times in ms. */
export interface PartitionAges {
  /** The instance that watches its deadlines; undefined while none does. */
  readonly leader: string | undefined;
  /** How long ago the newest moment is before which every deadline is certainly settled; undefined before the first scan. */
  readonly watchedAgo: number | undefined;
  /** How long the earliest deadline that is not settled has been due; 0 where none is due. */
  readonly lag: number;
  /** How long the oldest event that no instance took has been waiting. */
  readonly oldestWaiting: number | undefined;
  /** How long ago the oldest event came that some instance works on. */
  readonly oldestPending: number | undefined;
  /** How many events each instance works on. */
  readonly pendingOf: Readonly<Record<string, number>>;
}

/** Reads them by Redis's clock. Rejects as the commands do, and where there is no such group. */
export async function readAges(
  commands: Commands,
  { lease, watched, index, events }: GroupKeys,
  group: string,
): Promise<PartitionAges> {
  const [time, token, until, first, summary, groups] = await commands.run(
    (redis) =>
      Promise.all([
        redis.time(),
        redis.get(lease),
        redis.get(watched),
        redis.zrange(index, '0', '0', 'WITHSCORES'),
        redis.xpending(events, group) as Promise<Pending>,
        redis.xinfo('GROUPS', events) as Promise<unknown[][]>,
      ]),
  );
  const now = clockOf(time);
  const since = (entry: string | null | undefined): number | undefined =>
    entry ? Math.max(0, now - Number(entry.split('-')[0])) : undefined;
  const last = lastDelivered(groups, group);
  const waiting = await commands.run((redis) =>
    redis.xrange(events, `(${last}`, '+', 'COUNT', 1),
  );
  const [, oldest, , owners] = summary;
  return {
    leader: token === null ? undefined : holderOf(token),
    watchedAgo: until ? Math.max(0, now - Number(until)) : undefined,
    lag: first.length > 0 ? Math.max(0, now - Number(first[1])) : 0,
    oldestWaiting: since(waiting[0]?.[0]),
    oldestPending: since(oldest),
    pendingOf: Object.fromEntries(
      (owners ?? []).map(([name, count]) => [name, Number(count)]),
    ),
  };
}

/** Epoch ms, of the answer to TIME. */
export const clockOf = ([seconds, micros]: readonly (
  number | string
)[]): number => Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);

/** The answer to XPENDING: how many, the first and the last id, and how many each consumer has. */
type Pending = [
  number | string,
  string | null,
  string | null,
  [string, string][] | null,
];

/** The id of the entry that was given out last. */
function lastDelivered(groups: unknown[][], group: string): string {
  for (const fields of groups) {
    const of = (name: string): unknown =>
      fields[fields.findIndex((each, i) => i % 2 === 0 && each === name) + 1];
    if (of('name') === group) return String(of('last-delivered-id'));
  }
  return '0-0';
}
