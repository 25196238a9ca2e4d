import { readFile } from 'node:fs/promises';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import {
  TestCluster,
  keyForSlot,
  keysForSlot,
  slotOf,
  useCluster,
} from '../../support/cluster.js';
import type { TestServer } from '../../support/servers.js';
import { certificateFiles } from '../../support/tls.js';

// Longer than others: a test may begin with a new Cluster, and end with its oldest node's slots moved.
const PATIENCE = 60_000;

describe.each(inject('redisServers'))('a Cluster on $name', ({ path }) => {
  const cluster = useCluster(3, { path, replicas: 1 });

  const expectBeginning = async () => {
    const { servers } = cluster;
    expect(await cluster.primaries()).toEqual(servers.slice(0, 3));
    expect(await cluster.replicas()).toEqual(servers.slice(3));
  };

  it('has what was asked for', async () => {
    await expectBeginning();
    const [first, , third] = cluster.servers as TestServer[];
    const key = keyForSlot(12_345, 'a:');
    expect(await first!.redis.cluster('KEYSLOT', key)).toBe(12_345);
    expect(slotOf('x{a}y')).toBe(slotOf('a'));
    expect(await cluster.primaryOf(key)).toBe(third);
    const replica = await cluster.replicaOf(third!);
    expect(replica).toBe(cluster.servers[5]);

    await (await cluster.connect()).set(key, 'v');
    expect(await cluster.wait(key)).toBe(1);
    await replica.redis.readonly();
    expect(await replica.redis.get(key)).toBe('v');
  });

  it('replaces a primary that is killed, which comes back as a replica', async () => {
    const primary = await cluster.primaryOf('a');
    const replica = await cluster.replicaOf(primary);

    const killedAt = await cluster.kill(primary);
    const { server, at, notBefore } = await cluster.untilPromoted(primary);

    expect(server).toBe(replica);
    expect(at).toBeGreaterThan(killedAt);
    expect(notBefore).toBeLessThanOrEqual(at);
    expect(await cluster.primaryOf('a')).toBe(replica);
    await cluster.restart(primary);
    expect(await cluster.replicaOf(replica)).toBe(primary);
  });

  it('is as new after that, and replaces a primary that hangs', async () => {
    await expectBeginning();
    const primary = cluster.servers[1]!;
    primary.process.pause();
    const { server } = await cluster.untilPromoted(primary);
    expect(server).toBe(cluster.servers[4]);

    primary.process.resume();
    await cluster.settled();
    expect(await cluster.replicaOf(server)).toBe(primary);
  });

  it('fails over by command, to and fro', async () => {
    for (const mode of [undefined, 'FORCE', 'TAKEOVER'] as const) {
      const primary = await cluster.primaryOf(0);
      const replica = await cluster.replicaOf(primary);
      const { server } = await cluster.failover(replica, mode);
      expect(server).toBe(replica);
      expect(await cluster.primaryOf(0)).toBe(replica);
      expect(await cluster.replicaOf(replica)).toBe(primary);
    }
  });

  it(
    'grows and shrinks, and moves slots with their keys, of which some expire',
    { timeout: PATIENCE },
    async () => {
      const first = cluster.servers[0]!;
      const added = await cluster.addPrimary();
      const replica = await cluster.addReplica(added);
      const redis = await cluster.connect();
      const keys = keysForSlot(7, 'k:', 60);
      const [lasting, passing] = [keys.slice(0, 30), keys.slice(30)];
      for (const key of lasting) await redis.set(key, '');
      for (const key of passing) await redis.set(key, '', 'PX', 100);

      const left: number[] = [];
      await cluster.moveSlot(7, added, {
        batch: 10,
        pauseBetween: async () => {
          left.push(Number(await first.redis.cluster('COUNTKEYSINSLOT', 7)));
        },
      });
      expect(left.length).toBeGreaterThan(3);
      expect(left.at(-1)).toBe(0);
      expect(await cluster.primaryOf(7)).toBe(added);
      expect(await redis.exists(...lasting)).toBe(30);
      await cluster.wait(7);
      expect(await replica.redis.dbsize()).toBeGreaterThanOrEqual(30);

      await cluster.moveSlots([100, 199], added);
      expect(await cluster.primaryOf(199)).toBe(added);
      expect(await cluster.primaryOf(200)).toBe(first);

      await cluster.removePrimary(first, { keepRunning: true });
      expect(cluster.servers).not.toContain(first);
      expect(first.process.running).toBe(true);
      expect(await cluster.primaries()).not.toContain(first);
      expect(await cluster.replicas()).toHaveLength(4);
      expect(await redis.exists(...lasting)).toBe(30);
    },
  );

  it('may want TLS and a password, and forbid CONFIG', async ({ skip }) => {
    const { cert, key, remove } = await certificateFiles();
    onTestFinished(remove);
    const tls = { ca: await readFile(cert) };
    const secured = new TestCluster(1, {
      path,
      replicas: 1,
      login: { password: 's3cret', tls },
      tls: { cert, key },
      configForbidden: true,
      args: (place) => ['--notify-keyspace-events', place === 0 ? 'KEx' : ''],
    });
    onTestFinished(() => secured.stop());
    try {
      await secured.start();
    } catch (error) {
      // Not every build has TLS.
      if (/bad directive/i.test(String(error))) skip();
      throw error;
    }

    await (await secured.connect()).set('a', '');
    expect(await secured.wait('a')).toBe(1);
    const primary = await secured.primaryOf('a');
    await expect(primary.flags()).rejects.toThrow(/unknown command/i);
    await secured.reset();
    expect(await primary.redis.dbsize()).toBe(0);

    const added = await secured.addPrimary();
    const [moved] = keysForSlot(9, 'k', 1);
    await primary.redis.set(moved!, 'v');
    await secured.moveSlot(9, added);
    expect(await added.redis.get(moved!)).toBe('v');
  });
});
