import { describe, expect, it, onTestFinished } from 'vitest';
import { ArmedKeys } from '../../../lib/group/armed-keys.js';
import type { ArmingPlace } from '../../../lib/group/arming-places.js';
import { eventually } from '../../support/eventually.js';
import { eventsOf, judgeOn, lapsed } from '../../support/group/judging.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { type TestServer, onEveryServer } from '../../support/servers.js';

const K = Buffer.from('k');
const MINUTE = 60_000;

/** Writes keys of the group whose judge is under test. */
function armedOn(server: TestServer): ArmedKeys {
  const place: ArmingPlace = {
    ...{ client: commandsOn(server), keys: KEYS, isAmongOthers: false },
  };
  const keys = new ArmedKeys(
    {
      lastError: undefined,
      prepare: () => undefined,
      placeOf: () => place,
      whereabouts: () => Promise.resolve(place),
      close: () => place.client.close(),
    },
    '',
    10_000,
  );
  onTestFinished(() => keys.close());
  return keys;
}

onEveryServer('what writers of keys settle', (server) => {
  const arm = async (keys: ArmedKeys, ttl: number) =>
    (await keys.arm([{ key: K, ttl, value: '' }]))[0]!;
  const isGone = () =>
    eventually(async () => expect(await server.redis.exists('k')).toBe(0));
  const told = async () =>
    (await eventsOf(server)).map(
      ({ redisKey, deadline, source }) =>
        `${String(redisKey)} ${deadline} ${source}`,
    );

  it('an expiry that arming found is told once, though its announcement comes late', async () => {
    const keys = armedOn(server);
    const { judge, evidence, index } = await judgeOn(server);
    const { deadline } = await arm(keys, 1);
    await isGone();
    expect(await arm(keys, MINUTE)).toMatchObject({ created: true });
    expect(await keys.cancel(K)).toBe(true);
    evidence.announce('k');

    await judge.judge([K]);

    expect(await told()).toEqual([`k ${deadline} notification`]);
    expect(await index.size()).toBe(0);
  });

  it('an expiry that arming found where nobody leads is a recovery', async () => {
    const keys = armedOn(server);
    await server.redis.del(KEYS.lease);
    const { deadline } = await arm(keys, 1);
    await isGone();

    await arm(keys, MINUTE);

    expect(await told()).toEqual([`k ${deadline} recovery`]);
  });

  it('a life that follows is told all the same', async () => {
    const keys = armedOn(server);
    const { judge, evidence } = await judgeOn(server);
    const first = await arm(keys, 1);
    await isGone();
    const second = await arm(keys, 1);
    await isGone();
    evidence.announce('k');

    await judge.judge([K]);
    // The announcement of the other one.
    evidence.announce('k');
    await judge.judge([K]);

    expect(await told()).toEqual([
      `k ${first.deadline} notification`,
      `k ${second.deadline} notification`,
    ]);
  });

  it('a deadline that is noted after its key was cancelled is no expiry, in a gap either', async () => {
    const keys = armedOn(server);
    const { judge, node, index } = await judgeOn(server);
    node.gaps.begin(0);
    const { deadline } = await arm(keys, 30);
    expect(await keys.cancel(K)).toBe(true);
    // The leader had read it before.
    await index.enrol([{ key: K, at: deadline }]);
    await lapsed(server.redis, 'other');
    await judge.judge([K]);

    expect(await told()).toEqual([]);
    expect(await index.size()).toBe(0);
    // The same deadline in another life is another one.
    await server.redis.pexpireat('k', deadline);
    const again = await arm(keys, 30);
    expect(await keys.cancel(K)).toBe(true);
    const third = await arm(keys, again.deadline - Date.now() + 1);
    await isGone();
    await judge.judge([K]);
    expect(await told()).toEqual([`k ${third.deadline} recovery`]);
  });

  it('nothing is noted of a cancelled key that had more than ten minutes left', async () => {
    const keys = armedOn(server);
    await judgeOn(server);

    await arm(keys, 11 * MINUTE);
    expect(await keys.cancel(K)).toBe(true);

    expect(await server.redis.exists(KEYS.settled, KEYS.index)).toBe(0);
  });

  it('what is noted is forgotten after ten minutes', async () => {
    const keys = armedOn(server);
    await judgeOn(server);
    const old = Date.now() - 11 * MINUTE;
    await server.redis.zadd(KEYS.settled, old, 'cold', old, 'eolder');

    await arm(keys, MINUTE);
    await keys.cancel(K);

    expect(await server.redis.zrange(KEYS.settled, '0', '-1')).toEqual(['ck']);
  });
});

onEveryServer('a key that the server refuses', (server) => {
  describe('by its type, its memory or its ACL', () => {
    it('is not known either', async () => {
      const keys = armedOn(server);
      await arm1(keys, 'k');
      const before = await server.redis.zscore(KEYS.index, 'k');
      await server.redis.config('SET', 'maxmemory', '1');

      await expect(arm1(keys, 'l')).rejects.toMatchObject({
        code: 'KEYS_REFUSED',
        message: expect.stringContaining('OOM') as string,
      });

      await server.redis.config('SET', 'maxmemory', '0');
      expect(await server.redis.zscore(KEYS.index, 'l')).toBeNull();
      expect(await server.redis.zscore(KEYS.index, 'k')).toBe(before);
      expect(await server.redis.exists('l')).toBe(0);
    });
  });

  const arm1 = (keys: ArmedKeys, key: string) =>
    keys.arm([{ key: Buffer.from(key), ttl: MINUTE, value: '' }]);
});
