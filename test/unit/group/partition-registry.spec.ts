import { describe, expect, it, onTestFinished } from 'vitest';
import { groupKeys, homeKeys } from '../../../lib/group/group-keys.js';
import { PartitionRegistry } from '../../../lib/group/partition-registry.js';
import { partitionName } from '../../../lib/group/partition-tags.js';
import { commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

describe('PartitionRegistry', () => {
  const server = useServer();
  const keys = homeKeys('rx:', 'g');

  function registry(): {
    registry: PartitionRegistry;
    partition: Parameters<PartitionRegistry['retire']>[0];
  } {
    const commands = commandsOn(server);
    onTestFinished(() => commands.close());
    const name = partitionName('g', 3);
    return {
      registry: new PartitionRegistry(commands, keys, 'g'),
      partition: { ...name, commands, keys: groupKeys('rx:', name.tag, 3) },
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
      const { registry: list, partition } = registry();
      const { [part]: key, lease, watched } = partition.keys;
      await list.add([partition]);
      await redis.mset(lease, 'token', watched, '5');
      const isStream = part === 'events' || part === 'dead';
      if (isStream) await redis.xadd(key, '1-1', 'k', 'v');
      else await redis.zadd(key, 1, 'k');

      expect(await list.retire(partition, 'token')).toBe(false);
      expect(await redis.get(watched)).toBe('5');
      if (isStream) await redis.xdel(key, '1-1');
      else await redis.zrem(key, 'k');
      await expect(list.retire(partition, 'another')).rejects.toThrow('LEASE');
      expect(await list.read()).toHaveLength(2);
      expect(await list.retire(partition, 'token')).toBe(true);

      expect(await list.read()).toHaveLength(1);
      expect(await redis.dbsize()).toBe(0);
    },
  );

  it('takes a partition back that was brought entries meanwhile', async () => {
    const { redis } = server;
    const { registry: list, partition } = registry();
    await list.add([partition]);
    await redis.set(partition.keys.lease, 'token');
    const { commands } = partition;
    const busy = {
      ...partition,
      commands: {
        connected: true,
        runNow: commands.runNow.bind(commands),
        run: async <T>(work: Parameters<typeof commands.run<T>>[0]) => {
          const reply = await commands.run(work);
          await redis.zadd(partition.keys.index, 5, 'k');
          return reply;
        },
      },
    };

    expect(await list.retire(busy, 'token')).toBe(false);

    expect(await list.read()).toHaveLength(2);
    expect(await redis.zscore(partition.keys.index, 'k')).toBe('5');
  });

  it('never retires the home partition', async () => {
    const { registry: list, partition } = registry();
    const home = { ...partition, number: 0, tag: 'g' };
    expect(await list.retire(home, 'token')).toBe(false);
  });
});
