import { describe, expect, it, onTestFinished } from 'vitest';
import { homeKeys } from '../../../lib/group/group-keys.js';
import { PartitionMap } from '../../../lib/group/partition-map.js';
import { PartitionRegistry } from '../../../lib/group/partition-registry.js';
import { PartitionTags } from '../../../lib/group/partition-tags.js';
import { slotOf } from '../../../lib/topology/hash-slot.js';
import type { RedisNode } from '../../../lib/topology/redis-node.js';
import type { Moves } from '../../../lib/topology/topology.js';
import { eventually } from '../../support/eventually.js';
import { commandsOn, noLog } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

describe('PartitionMap', () => {
  const server = useServer();

  /** The map of an instance, for a Cluster whose nodes a test has serve the slots that it likes. */
  function mapOf(slots: Record<string, number>) {
    const bounds = { ...slots };
    const callbacks = new Set<(moves: Moves) => void>();
    const nodeAt = (address: string): RedisNode =>
      ({ address, keyWith: (prefix: string) => prefix }) as RedisNode;
    const nodeOfSlot = (slot: number): RedisNode | undefined => {
      const found = Object.entries(bounds).find(([, bound]) => slot < bound);
      return found && nodeAt(found[0]);
    };
    const topology = {
      get nodes() {
        return Object.keys(bounds).map(nodeAt);
      },
      nodeOf: (key: Buffer) => nodeOfSlot(slotOf(key)),
      nodeOfSlot,
      onChange: (callback: (moves: Moves) => void) => {
        callbacks.add(callback);
        return () => void callbacks.delete(callback);
      },
    };
    const commands = commandsOn(server);
    const registry = new PartitionRegistry(commands, homeKeys('rx:', 'g'), 'g');
    const tags = new PartitionTags('g', 'rx:', topology);
    const map = new PartitionMap(registry, tags, topology, noLog);
    onTestFinished(() => {
      map.stop();
      commands.close();
    });
    /** The slots are others', as it is told. */
    const move = (others: Record<string, number>): void => {
      for (const address of Object.keys(bounds)) delete bounds[address];
      Object.assign(bounds, others);
      for (const callback of callbacks) callback(new Map());
    };
    return { map, registry, move };
  }
  const THREE = { a: 5_000, b: 10_000, c: 16_384 };
  const watchers = (map: PartitionMap, addresses: string): unknown[] =>
    Array.from(addresses, (address) => map.watchingAt(address)?.number);

  it('has a partition for each primary, and the same in every instance', async () => {
    const [one, two] = [mapOf(THREE), mapOf(THREE)];
    expect(one.map.names).toEqual([]);
    await Promise.all([one.map.start(), two.map.start()]);

    expect(one.map.names).toHaveLength(3);
    expect(two.map.names).toEqual(one.map.names);
    const watching = watchers(one.map, 'abc');
    expect(new Set(watching)).toEqual(
      new Set(one.map.names.map(({ number }) => number)),
    );
    expect(one.map.names.some((name) => one.map.isDrained(name))).toBe(false);
    expect(await one.registry.read()).toEqual(one.map.names);
  });

  it('adds that of a primary that comes, and drains that of one that goes', async () => {
    const { map, move, registry } = mapOf(THREE);
    await map.start();
    const before = map.names;
    let told = 0;
    map.onChange(() => told++);

    move({ new: 1_000, ...THREE });
    expect(told).toBe(1);
    await eventually(() => expect(map.names).toHaveLength(4));
    expect(told).toBe(2);
    expect(map.watchingAt('new')).toBeDefined();
    expect(map.names).toEqual(expect.arrayContaining([...before]));

    move({ a: 16_384 });
    expect(map.names.map((name) => map.isDrained(name))).toEqual([
      ...[false, true, true, true],
    ]);
    expect(watchers(map, 'ab')).toEqual([0, undefined]);
    expect(await registry.read()).toHaveLength(4);
  });

  it('notices what others add and take away, and goes on where it cannot read', async () => {
    const { map, registry } = mapOf(THREE);
    await map.start();
    const more = { tag: 'g:900', number: 900 };
    await registry.add([more]);
    await eventually(() => expect(map.names).toContainEqual(more));
    const { partitions } = homeKeys('rx:', 'g');
    await server.redis.set(partitions, 'not a list');
    map.refresh();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(map.names).toContainEqual(more);
    await server.redis.del(partitions);
    map.refresh();

    await eventually(() => expect(map.names).not.toContainEqual(more));
    expect(map.names).toHaveLength(3);
  });

  it('cannot start where the list cannot be read, until it can', async () => {
    const { map } = mapOf(THREE);
    const { partitions } = homeKeys('rx:', 'g');
    await server.redis.set(partitions, 'not a list');
    await expect(map.start()).rejects.toThrow('WRONGTYPE');
    await server.redis.del(partitions);
    await map.start();
    expect(map.names).toHaveLength(3);
  });
});
