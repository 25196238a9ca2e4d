import type { Cluster, Redis } from 'ioredis';
import {
  type GroupKeys,
  groupKeys,
  homeKeys,
} from '../../../lib/group/group-keys.js';
import { partitionName, readTag } from '../../../lib/group/partition-tags.js';

/** What a group has in all of its partitions, wherever they are. */
export class AllPartitions {
  constructor(
    private readonly redis: Redis | Cluster,
    private readonly group: string,
  ) {}

  /** The names of the keys of each partition in use. */
  async keys(): Promise<GroupKeys[]> {
    const { partitions } = homeKeys('rx:', this.group);
    const tags = await this.redis.zrange(partitions, '0', '-1');
    const others = tags.map((tag) => readTag(this.group, tag)!);
    return [partitionName(this.group, 0), ...others].map(({ tag, number }) =>
      groupKeys('rx:', tag, number),
    );
  }

  /** The sum of some figure of each. */
  async sum(
    figure: (redis: Redis | Cluster, keys: GroupKeys) => Promise<number>,
  ): Promise<number> {
    const all = await this.keys();
    const figures = await Promise.all(
      all.map((keys) => figure(this.redis, keys)),
    );
    return figures.reduce((a, b) => a + b, 0);
  }

  /** Which of these keys some index knows. */
  async indexed(keys: readonly string[]): Promise<string[]> {
    const all = await this.keys();
    const scores = await Promise.all(
      all.map(({ index }) => this.redis.zmscore(index, ...keys)),
    );
    return keys.filter((_, i) => scores.some((of) => of[i] !== null));
  }
}
