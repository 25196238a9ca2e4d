import { describe, expect, it, onTestFinished } from 'vitest';
import { type SweepArguments, runSweep } from '../../../lib/group/sweep.js';
import { fromFields } from '../../../lib/group/stored-event.js';
import { keysForSlot, slotOf, useCluster } from '../../support/cluster.js';
import { lapsed } from '../../support/group/judging.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import type { TestServer } from '../../support/servers.js';

const HOME = slotOf(KEYS.index);

describe('SWEEP, of keys that are elsewhere', () => {
  const cluster = useCluster(2);

  async function scene() {
    const home = await cluster.primaryOf(HOME);
    const [other] = (await cluster.primaries()).filter((one) => one !== home);
    await home.redis.set(KEYS.lease, 'token');
    const commands = commandsOn(home);
    onTestFinished(() => commands.close());
    let number = 0;
    const send = (words: SweepArguments) =>
      commands.runNow((redis) =>
        runSweep(redis, KEYS, { token: 'token', number: ++number }, words),
      );
    return { home, other: other!, send };
  }
  const keysAt = async (
    server: TestServer,
    count: number,
  ): Promise<string[]> => {
    for (let slot = 0; ; slot++)
      if (slot !== HOME && (await cluster.primaryOf(slot)) === server)
        return keysForSlot(slot, 'k', count);
  };
  const scoresOf = async (server: TestServer, key: string) => {
    const flat = await server.redis.zrange(key, '0', '-1', 'WITHSCORES');
    return Object.fromEntries(
      flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]]] : [])),
    );
  };

  it('puts their entries aside, with the mark where the deadline lies in a gap, and takes none for deleted', async () => {
    const { home, other, send } = await scene();
    const [due, missed, marked, ahead, unknown, expired] = await keysAt(
      ...([other, 6] as const),
    );
    const [here] = await keysAt(home, 1);
    const now = Date.now();
    const [past, future] = [now - 60_000, now + 60_000];
    await home.redis.set(here!, '1', 'PXAT', future);
    await home.redis.zadd(
      KEYS.index,
      ...[past, due!, past - 10, missed!, past + 0.5, marked!],
      ...[future, ahead!, past, expired!],
    );
    const keys = [due!, missed!, marked!, ahead!, unknown!, expired!, here!];

    const words = {
      keys: keys.map((key) => Buffer.from(key)),
      known: 'dd-d-e-',
      gaps: [
        { from: past - 10, to: past - 10 },
        { from: now, to: future + 1_000 },
      ],
    };
    // On one server a key cannot be elsewhere: that would be an error.
    await expect(send(words)).rejects.toThrow('non local key');
    const { codes, soonest } = await send({ ...words, amongOthers: true });

    expect(codes).toBe('mmmmmea');
    expect(soonest).toBe(future);
    expect(await scoresOf(home, KEYS.away)).toEqual({
      [due!]: `${past}`,
      [missed!]: `${past - 10}.5`,
      [marked!]: `${past}.5`,
      [ahead!]: `${future}`,
    });
    expect(await scoresOf(home, KEYS.index)).toEqual({ [here!]: `${future}` });
    expect(await scoresOf(home, KEYS.told)).toEqual({
      [expired!]: `${past - 800}`,
    });
    const events = await home.redis.xrangeBuffer(KEYS.events, '-', '+');
    expect(events.map(([, fields]) => fromFields(fields))).toMatchObject([
      { redisKey: Buffer.from(expired!), deadline: past },
    ]);
  });

  it('settles what was set aside, once it is heard that it expired before it left', async () => {
    const { home, other, send } = await scene();
    const [key] = await keysAt(other, 1);
    const past = Date.now() - 60_000;
    await home.redis.zadd(KEYS.index, past, key!);
    const keys = [Buffer.from(key!)];

    const first = await send({ keys, known: '-', amongOthers: true });
    const second = await send({ keys, known: 'e', amongOthers: true });

    expect([first.codes, second.codes]).toEqual(['m', 'e']);
    expect(await home.redis.exists(KEYS.away)).toBe(0);
    const events = await home.redis.xrangeBuffer(KEYS.events, '-', '+');
    expect(events.map(([, fields]) => fromFields(fields))).toMatchObject([
      { redisKey: keys[0], deadline: past },
    ]);
  });

  it('does not tell again what another partition told, which is here or was', async () => {
    const { home, other, send } = await scene();
    const [told] = keysForSlot(slotOf((await keysAt(home, 1))[0]!), 'told', 1);
    const [away] = await keysAt(other, 1);
    const keys = await keysAt(home, 2);
    const past = Date.now() - 60_000;
    for (const key of keys) await home.redis.zadd(KEYS.index, past, key);
    await home.redis.zadd(told!, past, keys[0]!);

    const { codes } = await send({
      ...{ keys: keys.map((key) => Buffer.from(key)), known: 'dd' },
      gaps: [{ from: past, to: past }],
      amongOthers: true,
      tolds: [KEYS.told, away!, told!],
    });

    expect(codes).toBe('ng');
    expect(await home.redis.exists(KEYS.index)).toBe(0);
  });

  it('does so while their slot is on its way, and looks at those that are still there', async () => {
    const { home, other, send } = await scene();
    const [left, ranOut, stays, gone] = await keysAt(home, 4);
    const soon = Date.now() + 60_000;
    for (const key of [left!, stays!])
      await home.redis.set(key, '1', 'PXAT', soon);
    await lapsed(home.redis, ranOut!);
    for (const key of [left!, ranOut!, stays!, gone!])
      await home.redis.zadd(KEYS.index, 5, key);
    const slot = slotOf(left!);
    const [homeId, otherId] = (await Promise.all(
      [home, other].map(({ redis }) => redis.call('CLUSTER', 'MYID')),
    )) as [string, string];
    await other.redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', homeId);
    await home.redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', otherId);
    await home.redis.call(
      ...(['MIGRATE', other.host, other.port] as const),
      ...[left!, 0, 5_000],
    );
    const keys = [left!, ranOut!, stays!, gone!].map((key) => Buffer.from(key));

    const { codes } = await send({ keys, known: 'dddd', amongOthers: true });

    expect(codes).toBe('mmam');
    expect(await scoresOf(home, KEYS.index)).toEqual({ [stays!]: `${soon}` });
    expect(Object.keys(await scoresOf(home, KEYS.away)).toSorted()).toEqual(
      [left!, ranOut!, gone!].toSorted(),
    );
    await home.redis.call('CLUSTER', 'SETSLOT', slot, 'STABLE');
    await other.redis.call('CLUSTER', 'SETSLOT', slot, 'STABLE');
  });
});
