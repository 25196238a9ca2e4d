import type { Commands } from '../connection/commands.js';
import type { HomeKeys } from './group-keys.js';
import { warningKeys } from './group-keys.js';
import { handOnMemories, memoriesOf } from './memories.js';
import type { Partition } from './partition.js';
import {
  type PartitionName,
  partitionName,
  readTag,
} from './partition-tags.js';
import { RETIRE_PARTITION } from '../scripts/retire-partition.lua.js';

/**
 * The list of a group's partitions, which is kept beside the home partition. On a Cluster every instance reads
 * it, adds what is missing, and takes off it what is drained; one server has no such list.
 *
 * Guarantees: the home partition is always on it. A partition that is not empty does not leave it for longer
 * than `retire` takes.
 */
export class PartitionRegistry {
  /** @param commands the home partition's */
  constructor(
    private readonly commands: Commands,
    private readonly keys: Pick<HomeKeys, 'partitions'>,
    private readonly group: string,
  ) {}

  /** The partitions in use, by number. Rejects as the command does. */
  async read(): Promise<PartitionName[]> {
    const { partitions } = this.keys;
    const tags = await this.commands.run((redis) =>
      redis.zrange(partitions, '0', '-1'),
    );
    const names = tags.flatMap((tag) => readTag(this.group, tag) ?? []);
    const others = names.filter(({ number }) => number > 0);
    return [partitionName(this.group, 0), ...others];
  }

  /** Adds partitions; one that is there already stays. Rejects as the command does. */
  async add(names: readonly PartitionName[]): Promise<void> {
    const entries = names.flatMap(({ tag, number }) => [number, tag]);
    if (entries.length === 0) return;
    const { partitions } = this.keys;
    await this.commands.run((redis) => redis.zadd(partitions, ...entries));
  }

  /**
   * Takes a partition off the list that has nothing to do any more, and deletes what is left of it.
   * Resolves with whether that was so. Rejects where a command fails, or the lease is another's by now.
   *
   * @param token of the lease of that very partition
   * @param heir the one that watches its node: it is given what the partition remembers
   */
  async retire(
    retired: RetiredPartition,
    token: string,
    heir: Pick<Partition, 'commands' | 'keys'>,
  ): Promise<boolean> {
    const { tag, number, commands, keys } = retired;
    // What it remembers may be much, and is given once there is nothing else.
    if (number === 0 || (await hasWork(retired))) return false;
    const given = await handOnMemories(retired, heir);
    const { lease, events, index, away, retry, grace, dead } = keys;
    const { runs, watched, request, dropped, befores } = keys;
    const isDone = await commands.run((redis) =>
      RETIRE_PARTITION.run(
        redis,
        [
          ...[lease, events, index, away, retry, dead, befores, grace],
          ...memoriesOf(keys),
          ...[runs, watched, request, dropped],
        ],
        token,
        keys.warnings,
        given,
      ),
    );
    if (isDone !== 1) return false;
    const { partitions } = this.keys;
    await this.commands.run((redis) => redis.zrem(partitions, tag));
    return !(await this.takeBack(retired));
  }

  /**
   * Takes a partition back that was retired, if somebody who knew an older list has brought something meanwhile. Resolves
   * with whether that was so. Rejects where a command fails.
   */
  async takeBack(retired: RetiredPartition): Promise<boolean> {
    if (!(await hasWork(retired))) return false;
    const { tag, number } = retired;
    await this.add([{ tag, number }]);
    return true;
  }
}

/** What of a partition is needed to retire it. */
export type RetiredPartition = Pick<
  Partition,
  'tag' | 'number' | 'commands' | 'keys'
>;

/** Whether a partition has entries, events, or what waits to become one. */
async function hasWork({ commands, keys }: RetiredPartition): Promise<boolean> {
  const { events, index, away, retry, grace, dead, warnings, befores } = keys;
  const counts = await commands.run(async (redis) => {
    const stored = await redis.zrange(befores, '0', '-1');
    const ahead = stored.flatMap((before) => {
      const named = warningKeys(warnings, Number(before));
      return [named.ahead, named.away];
    });
    return Promise.all([
      ...[index, away, retry, grace, ...ahead].map((key) => redis.zcard(key)),
      ...[events, dead].map((key) => redis.xlen(key)),
    ]);
  });
  return counts.some((count) => count > 0);
}
