import { describe, expect, it } from 'vitest';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { TtlReader } from '../../../lib/deadlines/ttl-reader.js';
import { keysForSlot, useCluster } from '../../support/cluster.js';
import { commandsOn } from '../../support/group/parts.js';

const HOUR = 3_600_000;
const SLOT = 5;

describe('TtlReader on a node to which a slot is on its way', () => {
  const cluster = useCluster(3);

  it.for([
    ['reads', true],
    ['does not read, where it is not one of a Cluster,', false],
  ] as const)(
    '%s the keys that are there already',
    async ([, inCluster], { onTestFinished }) => {
      const from = await cluster.primaryOf(SLOT);
      const to = cluster.servers.find((server) => server !== from)!;
      const idOf = async ({ redis }: typeof to): Promise<string> =>
        String(await redis.cluster('MYID'));
      const setSlot = async (
        { redis }: typeof to,
        ...words: string[]
      ): Promise<unknown> => redis.call('CLUSTER', 'SETSLOT', SLOT, ...words);
      const [here, there] = keysForSlot(SLOT, 'k', 2);
      await from.redis.set(there!, '', 'PX', HOUR);
      await setSlot(to, 'IMPORTING', await idOf(from));
      await setSlot(from, 'MIGRATING', await idOf(to));
      onTestFinished(async () => {
        for (const key of await from.redis.keys('k*'))
          await from.redis.del(key);
        await to.redis.flushall();
        await setSlot(from, 'STABLE');
        await setSlot(to, 'STABLE');
        await to.redis.flushall();
      });
      await to.redis.pipeline().asking().set(here!, '', 'PX', HOUR).exec();
      const commands = commandsOn(to);
      onTestFinished(() => commands.close());
      const reader = new TtlReader(commands, new RedisClock(), inCluster);
      const keys = [here!, there!].map((key) => Buffer.from(key));

      const { ttls } = await reader.read(keys);
      const { entries } = await reader.scan(
        '0',
        { match: '*', filters: [] },
        100,
      );

      expect(ttls.map((ttl) => (ttl > 0 ? 'lives' : ttl))).toEqual(
        inCluster ? ['lives', -2] : [-4, -4],
      );
      expect(entries.map(({ key }) => key.toString())).toEqual(
        inCluster ? [here] : [],
      );
    },
  );
});
