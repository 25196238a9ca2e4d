import { describe, expect, it, onTestFinished } from 'vitest';
import { readConnectionForm } from '../../../lib/connection/connection-option.js';
import { readTime } from '../../../lib/deadlines/ttl-reader.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { Forwarder } from '../../../lib/group/forwarder.js';
import type { Fate } from '../../../lib/group/forwarding-term.js';
import type { Destinations } from '../../../lib/group/key-finder.js';
import { Partition } from '../../../lib/group/partition.js';
import {
  PartitionTags,
  partitionName,
} from '../../../lib/group/partition-tags.js';
import { TermFence } from '../../../lib/group/term-fence.js';
import { WriteRefusals } from '../../../lib/group/write-refusals.js';
import { ClusterTopology } from '../../../lib/topology/cluster-topology.js';
import { keysForSlot, slotOf, useCluster } from '../../support/cluster.js';
import { eventually } from '../../support/eventually.js';
import { lapsed } from '../../support/group/judging.js';
import { noLog } from '../../support/group/parts.js';
import type { TestServer } from '../../support/servers.js';

/** Nothing that lives so long runs out in a test, however slow. */
const HOUR = 3_600_000;
const GROUP = 'g';

describe('Forwarder', () => {
  const cluster = useCluster(3, {
    // One node that hangs is no end of the others.
    args: [
      ...['--enable-debug-command', 'yes'],
      ...['--cluster-require-full-coverage', 'no'],
    ],
  });

  /** The home partition's forwarder, not started, and a partition on each of three nodes. */
  async function scene({
    isDrained = false,
    before,
  }: { isDrained?: boolean; before?: number } = {}) {
    const target = readConnectionForm({ nodes: cluster.nodes });
    const topology = new ClusterTopology(target, 'test', noLog);
    const refusals = new WriteRefusals(GROUP, noLog);
    await topology.start();
    await eventually(() => expect(topology.nodes).toHaveLength(3));
    const tags = new PartitionTags(GROUP, 'rx:', topology);
    const home = partitionName(GROUP, 0);
    const partitions = [home, ...tags.missing([home])].map(
      ({ tag, number }) =>
        new Partition(tag, number, 'rx:', topology, refusals),
    );
    const [own] = partitions;
    const fence = new TermFence('token');
    const unknown = new Set<string>();
    const destinations: Destinations = {
      redirect: (answer) => topology.redirect(answer),
      nodeOf: (key) => topology.nodeOf(key),
      tolds: () => [],
      indexOf: ({ address }) => {
        const there = partitions.find(({ node }) => node === address);
        return there && !unknown.has(address)
          ? {
              commands: there.commands,
              ...{ index: there.keys.index, lease: there.keys.lease },
              ...{ warnings: there.keys.warnings, befores: there.keys.befores },
              ...(before !== undefined && { before }),
            }
          : undefined;
      },
    };
    const due: number[] = [];
    const fates = new Map<string, Fate>();
    const clock = new RedisClock();
    await readTime(own!.commands, clock);
    const forwarder = new Forwarder(
      {
        ...{ token: 'token', keys: own!.keys, clock },
        log: noLog,
        commands: (connection) => fence.commands(connection),
        due: (soonest) => due.push(soonest),
        fateOf: ({ key }) => fates.get(key.toString()) ?? 'unknown',
      },
      topology.nodeOf(Buffer.from(own!.keys.index))!,
      destinations,
      isDrained,
    );
    onTestFinished(() => {
      forwarder.stop();
      fence.end();
      for (const partition of partitions) partition.close();
      refusals.close();
      topology.close();
    });
    const serverAt = (address: string | undefined): TestServer =>
      cluster.servers.find((server) => server.address === address)!;
    const [here, ...others] = partitions.map(({ node }) => serverAt(node));
    for (const { keys, node } of partitions)
      await serverAt(node).redis.set(keys.lease, 'token');
    const indexes = partitions.map(({ keys }) => keys.index);
    const parts = {
      forwarder,
      fates,
      fence,
      unknown,
      due,
      indexes,
      partitions,
    };
    return { ...parts, own: own!, here: here!, others };
  }

  /** Keys of a slot of a server, which is not that of a partition. */
  async function keysAt(server: TestServer, count: number): Promise<string[]> {
    for (let slot = 0; ; slot += 7)
      if ((await cluster.primaryOf(slot)) === server)
        return keysForSlot(slot, 'k', count);
  }
  const scores = async (
    server: TestServer,
    key: string,
  ): Promise<Record<string, string>> => {
    const flat = await server.redis.zrange(key, '0', '-1', 'WITHSCORES');
    const of: Record<string, string> = {};
    for (let i = 0; i < flat.length; i += 2) of[flat[i]!] = flat[i + 1]!;
    return of;
  };

  it('brings entries to where their keys are, with their marks, back where they are here after all, and drops those of deleted keys', async () => {
    const { forwarder, due, own, here, others, indexes } = await scene();
    const [past, ahead] = [Date.now() - HOUR, Date.now() + HOUR];
    const [returned] = await keysAt(here, 1);
    const away: Record<string, number> = { [returned!]: past };
    const [one, two] = others as [TestServer, TestServer];
    const [missed, known, later, sooner, deleted] = await keysAt(one, 5);
    const many = await keysAt(two, 450);
    Object.assign(away, {
      ...{ [missed!]: past + 0.5, [known!]: past + 0.5 },
      ...{ [later!]: ahead, [sooner!]: ahead, [deleted!]: ahead },
      ...Object.fromEntries(many.map((key, i) => [key, past + i])),
    });
    await one.redis.zadd(
      indexes[1]!,
      ...[ahead, known!, ahead - 5, later!, ahead + 5, sooner!],
    );
    await one.redis.set(later!, '1', 'PXAT', ahead);
    await one.redis.set(sooner!, '1', 'PXAT', ahead);
    for (const [key, at] of Object.entries(away))
      await here.redis.zadd(own.keys.away, at, key);

    forwarder.start();
    await eventually(async () =>
      expect(await here.redis.zcard(own.keys.away)).toBe(0),
    );

    expect(await scores(here, own.keys.index)).toEqual({
      [returned!]: `${past}`,
    });
    expect(due).toContain(past);
    expect(await scores(one, indexes[1]!)).toEqual({
      ...{ [missed!]: `${past}.5`, [known!]: `${ahead}` },
      ...{ [later!]: `${ahead - 5}`, [sooner!]: `${ahead}` },
    });
    expect(await scores(two, indexes[2]!)).toEqual(
      Object.fromEntries(many.map((key, i) => [key, `${past + i}`])),
    );
    // What others bring is noticed without a word.
    due.length = 0;
    await here.redis.zadd(own.keys.index, past - 1, 'brought');
    await eventually(() => expect(due).toContain(past - 1));
  });

  it('has the other partition know of the warnings that it is brought', async () => {
    const { forwarder, own, here, others, partitions } = await scene({
      before: 60_000,
    });
    const [one] = others as [TestServer];
    const [key] = await keysAt(one, 1);
    await here.redis.zadd(own.keys.away, 5, key!);

    forwarder.start();
    await eventually(async () =>
      expect(await here.redis.exists(own.keys.away)).toBe(0),
    );

    const { befores } = partitions[1]!.keys;
    expect(await scores(one, befores)).toEqual({ '60000': '60000' });
  });

  it('keeps what a partition was to have that has no leader, until it has one', async () => {
    const { forwarder, own, here, others, indexes, partitions } = await scene();
    const [one, two] = others as [TestServer, TestServer];
    const [[first], [second]] = [await keysAt(one, 1), await keysAt(two, 1)];
    await here.redis.zadd(own.keys.away, 5, first!, 6, second!);
    const { lease } = partitions[1]!.keys;
    await one.redis.del(lease);

    forwarder.start();
    await eventually(async () =>
      expect(await scores(two, indexes[2]!)).toEqual({ [second!]: '6' }),
    );
    expect(await scores(here, own.keys.away)).toEqual({ [first!]: '5' });
    expect(await one.redis.exists(indexes[1]!)).toBe(0);

    await one.redis.set(lease, 'another');
    await eventually(async () =>
      expect(await here.redis.exists(own.keys.away)).toBe(0),
    );
    expect(await scores(one, indexes[1]!)).toEqual({ [first!]: '5' });
  });

  it('keeps entries that nobody can have yet, and one node that hangs holds up no other', async () => {
    const { forwarder, unknown, own, here, others, indexes } = await scene();
    const [one, two] = others as [TestServer, TestServer];
    const [[first], [second]] = [await keysAt(one, 1), await keysAt(two, 1)];
    await here.redis.zadd(own.keys.away, 5, first!, 6, second!);
    unknown.add(two.address);
    one.process.pause();
    onTestFinished(() => one.process.resume());

    forwarder.start();
    await eventually(async () =>
      // It was asked for, in vain.
      expect(await here.redis.info('commandstats')).toMatch(
        /cmdstat_exists:.*rejected_calls=([6-9]|\d\d)/,
      ),
    );
    expect(await scores(here, own.keys.away)).toEqual({
      ...{ [first!]: '5', [second!]: '6' },
    });
    unknown.clear();
    await eventually(async () =>
      expect(await scores(two, indexes[2]!)).toEqual({ [second!]: '6' }),
    );
    one.process.resume();

    await eventually(async () =>
      expect(await scores(one, indexes[1]!)).toEqual({ [first!]: '5' }),
    );
    await eventually(async () =>
      expect(await here.redis.exists(own.keys.away)).toBe(0),
    );
  });

  it('touches keys while their slot is on its way, drops those that were deleted, and brings the others once it has arrived', async () => {
    const { forwarder, own, here, others, indexes } = await scene();
    const [one] = others as [TestServer];
    const [ranOut, alive, ahead, deleted] = await keysAt(here, 4);
    const slot = slotOf(ranOut!);
    const later = Date.now() + HOUR;
    const ids = (await Promise.all(
      [here, one].map(({ redis }) => redis.call('CLUSTER', 'MYID')),
    )) as string[];
    await one.redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[0]!);
    await here.redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[1]!);
    await one.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    const deadline = Date.now() + 20;
    for (const [key, at] of [
      [ranOut!, deadline],
      [alive!, later],
      [ahead!, later],
    ] as const) {
      one.redis.asking().catch(() => undefined);
      await one.redis.set(key, '1', 'PXAT', at);
    }
    await here.redis.zadd(
      own.keys.away,
      ...[deadline, ranOut!, 5, alive!, later, ahead!],
      ...[later, deleted!],
    );
    const before = await one.redis.dbsize();

    forwarder.start();
    await eventually(async () =>
      expect(await one.redis.dbsize()).toBe(before - 1),
    );
    await eventually(async () =>
      expect(await here.redis.zcard(own.keys.away)).toBe(3),
    );
    expect(await here.redis.zscore(own.keys.away, deleted!)).toBeNull();
    for (const server of [one, here, others[1]!])
      await server.redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[1]!);

    await eventually(async () =>
      expect(await scores(one, indexes[1]!)).toEqual({
        ...{ [ranOut!]: `${deadline}`, [alive!]: '5', [ahead!]: `${later}` },
      }),
    );
    await eventually(async () =>
      expect(await here.redis.exists(own.keys.away)).toBe(0),
    );
  });

  it('gives all that a drained partition has to the one that watches its node, with what is known of it, and touches nothing that is due', async () => {
    const { forwarder, fates, partitions, own, here, indexes } = await scene({
      isDrained: true,
    });
    // Another partition of the same node has a lower number, as it were.
    const watching = 'rx:{g}:1:index';
    Object.assign(partitions[0]!, { keys: { ...own.keys, index: watching } });
    await here.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    const [key, other, missed, dropped, alive, deleted] = await keysAt(here, 6);
    const deadline = await lapsed(here.redis, key!);
    const later = Date.now() + HOUR;
    await here.redis.set(alive!, '1', 'PXAT', later);
    await here.redis.zadd(
      indexes[0]!,
      ...[deadline, key!, 8, missed!, 9, dropped!],
      ...[later, alive!, later, deleted!],
    );
    await here.redis.zadd(own.keys.away, 7, other!);
    fates.set(missed!, 'missed').set(dropped!, 'deleted');

    forwarder.start();

    await eventually(async () =>
      expect(await scores(here, watching)).toEqual({
        ...{ [key!]: `${deadline}`, [other!]: '7' },
        ...{ [missed!]: '8.5', [alive!]: `${later}` },
      }),
    );
    await eventually(async () =>
      expect(await here.redis.exists(indexes[0]!, own.keys.away)).toBe(0),
    );
    expect(await here.redis.info('stats')).toContain('expired_keys:0');
  });

  it("takes nothing away where the lease is another one's, or the term has ended", async () => {
    const { forwarder, fence, own, here, others, indexes } = await scene();
    const [one] = others as [TestServer];
    const [key] = await keysAt(one, 1);
    await here.redis.zadd(own.keys.away, 5, key!);
    await here.redis.set(own.keys.lease, 'another');

    forwarder.start();
    await eventually(async () =>
      expect(await scores(one, indexes[1]!)).toEqual({ [key!]: '5' }),
    );
    expect(await scores(here, own.keys.away)).toEqual({ [key!]: '5' });
    fence.end();
    await one.redis.del(indexes[1]!);
    await here.redis.set(own.keys.lease, 'token');
    forwarder.nudge();
    await new Promise((resolve) => setTimeout(resolve, 600));

    expect(await one.redis.exists(indexes[1]!)).toBe(0);
    expect(await scores(here, own.keys.away)).toEqual({ [key!]: '5' });
  });
});
