import { describe, expect, it, onTestFinished } from 'vitest';
import {
  groupKeys,
  homeKeys,
  warningKeys,
} from '../../../lib/group/group-keys.js';
import {
  PartitionRegistry,
  type RetiredPartition,
} from '../../../lib/group/partition-registry.js';
import { partitionName } from '../../../lib/group/partition-tags.js';
import { commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

describe('PartitionRegistry', () => {
  const server = useServer();
  const keys = homeKeys('rx:', 'g');

  function registry(): {
    registry: PartitionRegistry;
    partition: RetiredPartition;
    heir: Parameters<PartitionRegistry['retire']>[2];
  } {
    const commands = commandsOn(server);
    onTestFinished(() => commands.close());
    const name = partitionName('g', 3);
    return {
      registry: new PartitionRegistry(commands, keys, 'g'),
      partition: { ...name, commands, keys: groupKeys('rx:', name.tag, 3) },
      heir: { commands, keys: groupKeys('rx:', 'g') },
    };
  }

  /** The same partition, whose keys others write to after each answer. */
  function busyOf(
    partition: RetiredPartition,
    meanwhile: (reply: unknown) => Promise<void>,
  ): RetiredPartition {
    const { commands } = partition;
    return {
      ...partition,
      commands: {
        connected: true,
        runNow: commands.runNow.bind(commands),
        run: async <T>(work: Parameters<typeof commands.run<T>>[0]) => {
          const reply = await commands.run(work);
          await meanwhile(reply);
          return reply;
        },
      },
    };
  }

  it('has the home partition, and what was added', async () => {
    const { registry: list } = registry();
    expect(await list.read()).toEqual([partitionName('g', 0)]);
    await list.add([]);
    await list.add([partitionName('g', 12), partitionName('g', 3)]);
    await list.add([partitionName('g', 3)]);
    await server.redis.zadd(keys.partitions, 5, 'nonsense', 0, 'g', 7, 'g:0');

    expect((await list.read()).map(({ number }) => number)).toEqual([0, 3, 12]);
  });

  it.for(['index', 'away', 'events', 'retry', 'dead'] as const)(
    'keeps a partition while there is something in its %s',
    async (part) => {
      const { redis } = server;
      const { registry: list, partition, heir } = registry();
      const { [part]: key, lease, watched } = partition.keys;
      await list.add([partition]);
      await redis.mset(lease, 'token', watched, '5');
      const isStream = part === 'events' || part === 'dead';
      if (isStream) await redis.xadd(key, '1-1', 'k', 'v');
      else await redis.zadd(key, 1, 'k');

      expect(await list.retire(partition, 'token', heir)).toBe(false);
      expect(await redis.get(watched)).toBe('5');
      if (isStream) await redis.xdel(key, '1-1');
      else await redis.zrem(key, 'k');
      await expect(list.retire(partition, 'another', heir)).rejects.toThrow(
        'LEASE',
      );
      expect(await list.read()).toHaveLength(2);
      expect(await list.retire(partition, 'token', heir)).toBe(true);

      expect(await list.read()).toHaveLength(1);
      expect(await redis.dbsize()).toBe(0);
    },
  );

  it('takes a partition back that was brought entries meanwhile', async () => {
    const { redis } = server;
    const { registry: list, partition, heir } = registry();
    await list.add([partition]);
    await redis.set(partition.keys.lease, 'token');
    const busy = busyOf(partition, async (reply) => {
      if (reply === 1) await redis.zadd(partition.keys.index, 5, 'k');
    });

    expect(await list.retire(busy, 'token', heir)).toBe(false);

    expect(await list.read()).toHaveLength(2);
    expect(await redis.zscore(partition.keys.index, 'k')).toBe('5');
  });

  it('gives what a partition remembers to the one that watches its node', async () => {
    const { redis } = server;
    const { registry: list, partition, heir } = registry();
    const { lease, told, settled, ended, back } = partition.keys;
    await redis.set(lease, 'token');
    const now = Date.now();
    const old = now - 3_600_000;
    await redis.zadd(told, now + 5, 'k', now + 9, 'both', old, 'old');
    await redis.zadd(heir.keys.told, now + 7, 'both', now, 'own');
    await redis.zadd(settled, now + 6, 'ck');
    await redis.zadd(
      ended,
      ...Array.from({ length: 3_000 }, (_, i) => [now + i, `k${i}`]).flat(),
    );
    await redis.zadd(back, now + 8, '5:k');
    // A grace may be of days, and what came back in it is to be known for as long.
    await redis.zadd(ended, old, 'days');
    await redis.zadd(back, old, '7:days');

    expect(await list.retire(partition, 'token', heir)).toBe(true);

    const { keys } = heir;
    expect(await redis.zrange(keys.told, '0', '-1', 'WITHSCORES')).toEqual([
      'own',
      `${now}`,
      'k',
      `${now + 5}`,
      'both',
      `${now + 9}`,
    ]);
    expect(await redis.zscore(keys.settled, 'ck')).toBe(`${now + 6}`);
    expect(await redis.zcard(keys.ended)).toBe(3_001);
    expect(await redis.zscore(keys.ended, 'days')).toBe(`${old}`);
    expect(await redis.zscore(keys.back, '7:days')).toBe(`${old}`);
    expect(await redis.zscore(keys.back, '5:k')).toBe(`${now + 8}`);
    expect(await redis.exists(told, settled, ended, back)).toBe(0);
  });

  it('keeps a partition that remembers more by then than it gave', async () => {
    const { redis } = server;
    const { registry: list, partition, heir } = registry();
    const { lease, told } = partition.keys;
    await redis.set(lease, 'token');
    const now = Date.now();
    let isFirst = true;
    const busy = busyOf(partition, async (reply) => {
      if (isFirst && reply === 0) await redis.zadd(told, now, 'k');
      isFirst &&= reply !== 0;
    });

    expect(await list.retire(busy, 'token', heir)).toBe(false);
    expect(await redis.zscore(told, 'k')).toBe(`${now}`);
    expect(await list.retire(busy, 'token', heir)).toBe(true);
    expect(await redis.zscore(heir.keys.told, 'k')).toBe(`${now}`);
  });

  it('takes a retired partition back that was brought something, also of warnings', async () => {
    const { redis } = server;
    const { registry: list, partition } = registry();
    expect(await list.takeBack(partition)).toBe(false);
    expect(await list.read()).toHaveLength(1);

    const { befores, warnings } = partition.keys;
    await redis.zadd(befores, 60_000, '60000');
    expect(await list.takeBack(partition)).toBe(false);
    await redis.zadd(warningKeys(warnings, 60_000).ahead, 5, 'k');
    expect(await list.takeBack(partition)).toBe(true);
    expect(await list.read()).toHaveLength(2);
  });

  it('never retires the home partition', async () => {
    const { registry: list, partition, heir } = registry();
    const home = { ...partition, number: 0, tag: 'g' };
    expect(await list.retire(home, 'token', heir)).toBe(false);
  });
});
