import { expect, it, onTestFinished } from 'vitest';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';
import { ValueReader } from '../../../lib/deadlines/value-reader.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { WantedValues } from '../../../lib/listening/wanted-values.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { LogBook } from '../../support/logs.js';
import { type TestServer, onEveryServer } from '../../support/servers.js';

const LEAD = 60_000;

/** A reader of values of keys called `s…`, of hashes called `h…`, and of either called `e…`. */
function readerOn(server: TestServer, inGroup = false) {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  const [memory, wishes] = [new ValueMemory(), new WantedValues()];
  wishes.add(new RedisGlob('s*'), 's', 'string');
  wishes.add(new RedisGlob('h*'), 'h', 'hash');
  wishes.add(new RedisGlob('e*'), 'e', 'either');
  const counters = newCounters();
  const log = new LogBook();
  const { index, lease } = KEYS;
  const reader = new ValueReader(
    memory,
    {
      ...{ commands, clock: new RedisClock(), counters, wishes, log },
      options: { lead: LEAD, maxBytes: 100 },
    },
    inGroup ? { index, lease, token: 'token' } : undefined,
  );
  const look = (keys: Record<string, number>) =>
    reader.look(
      Object.entries(keys).map(([key, at]) => ({ key: Buffer.from(key), at })),
    );
  const text = (key: string) => memory.get(key)?.value?.bytes.toString();
  return { reader, memory, counters, log, look, text };
}

onEveryServer('ValueReader', (server) => {
  it('reads keys that have no more than the lead, in the types that are asked for', async () => {
    const { redis } = server;
    const { look, text, memory, counters } = readerOn(server);
    const [at, far] = [Date.now() + LEAD - 1_000, Date.now() + 3 * LEAD];
    await redis.set('s', 'text', 'PXAT', at);
    await redis.set('e:s', 'either', 'PXAT', at);
    await redis.set('h:s', 'no hash', 'PXAT', at);
    await redis.set('s:long', 'x'.repeat(101), 'PXAT', at);
    await redis.set('s:fits', 'x'.repeat(100), 'PXAT', at);
    await redis.set('s:renewed', 'text', 'PXAT', far);
    await redis.set('s:lasting', 'text');
    for (const key of ['h', 'e:h', 's:h']) {
      await redis.hset(key, { a: '1', b: '' });
      await redis.pexpireat(key, at);
    }
    await redis.hset('h:long', { ab: 'x'.repeat(99) });
    await redis.hset('h:fits', { a: 'x'.repeat(99) });
    await redis.rpush('e:list', '1');
    for (const key of ['h:long', 'h:fits', 'e:list'])
      await redis.pexpireat(key, at);
    const names = ['s', 'e:s', 'h:s', 's:long', 's:fits', 'h', 'e:h', 's:h'];
    const all = [...names, 'h:long', 'h:fits', 'e:list'];
    const seen = Object.fromEntries(all.map((name) => [name, at]));

    const found = await look({
      ...seen,
      's:renewed': at,
      's:lasting': at,
      's:gone': at,
    });

    const close = (deadline: number) => Math.abs(deadline - at) <= 2;
    expect(
      found
        .slice(0, -3)
        .every(({ deadline, isDying }) => isDying && close(deadline)),
    ).toBe(true);
    const [renewed, lasting, gone] = found.slice(-3);
    expect(Math.abs(renewed!.deadline - far)).toBeLessThanOrEqual(2);
    expect([renewed!.isDying, lasting, gone]).toEqual([
      false,
      { deadline: -1, isDying: false },
      { deadline: -2, isDying: false },
    ]);
    const fields = '{"a":"1","b":""}';
    expect(Object.fromEntries(all.map((name) => [name, text(name)]))).toEqual({
      ...{ s: 'text', 'e:s': 'either', 'h:s': undefined, 's:long': undefined },
      ...{
        's:fits': 'x'.repeat(100),
        h: fields,
        'e:h': fields,
        's:h': undefined,
      },
      ...{
        'h:long': undefined,
        'h:fits': JSON.stringify({ a: 'x'.repeat(99) }),
      },
      'e:list': undefined,
    });
    // That they were looked at is known of all of them.
    for (const name of all) expect(memory.get(name)).toBeDefined();
    expect(memory.get('s:renewed')).toBeUndefined();
    expect(memory.get('s')!.value!.age).toBeGreaterThan(LEAD - 60_000);
    expect(memory.get('s')!.value!.age).toBeLessThanOrEqual(LEAD);
    expect(counters.valuesTooLong).toBe(2);
  });

  it('reads as much as it is asked for, in several steps', async () => {
    const { redis } = server;
    const { reader, memory } = readerOn(server);
    const many = new ValueReader(memory, {
      ...(
        reader as unknown as {
          parts: ConstructorParameters<typeof ValueReader>[1];
        }
      ).parts,
      options: { lead: LEAD, maxBytes: 1_000_000 },
    });
    const at = Date.now() + LEAD - 1_000;
    const keys = Array.from({ length: 12 }, (_, i) => Buffer.from(`s${i}`));
    for (const key of keys)
      await redis.set(key, 'x'.repeat(300_000), 'PXAT', at);
    await redis.config('RESETSTAT');

    const found = await many.look(keys.map((key) => ({ key, at })));

    expect(found.every(({ isDying }) => isDying)).toBe(true);
    expect(
      keys.every(
        (key) => memory.get(String(key))?.value?.bytes.length === 300_000,
      ),
    ).toBe(true);
    // Four of them fill a step.
    const { getrange } = await server.commandCalls();
    expect(getrange).toBe(12);
  });

  it('in a group moves the entries of keys that were renewed, and of no others', async () => {
    const { redis } = server;
    const { look } = readerOn(server, true);
    await redis.set(KEYS.lease, 'token');
    const [at, far] = [Date.now() + LEAD - 1_000, Date.now() + 3 * LEAD];
    await redis.set('s:same', '1', 'PXAT', at);
    await redis.set('s:renewed', '1', 'PXAT', far);
    await redis.set('s:unknown', '1', 'PXAT', far);
    await redis.set('s:sooner', '1', 'PXAT', at);
    await redis.zadd(
      KEYS.index,
      at,
      's:same',
      at,
      's:renewed',
      far,
      's:sooner',
      at,
      's:gone',
    );

    await look({
      's:same': at,
      's:renewed': at,
      's:unknown': at,
      's:sooner': far,
      's:gone': at,
    });

    const scores = await redis.zmscore(
      KEYS.index,
      's:same',
      's:renewed',
      's:unknown',
      's:sooner',
      's:gone',
    );
    const [same, renewed, unknown, sooner, gone] = scores.map(
      (score) => score && Number(score),
    );
    expect([same, unknown, gone]).toEqual([at, null, at]);
    expect(Math.abs(Number(renewed) - far)).toBeLessThanOrEqual(2);
    expect(Math.abs(Number(sooner) - at)).toBeLessThanOrEqual(2);
    await redis.set(KEYS.lease, 'another');
    await expect(look({ 's:same': at })).rejects.toThrow('LEASE lost');
  });

  it('is content with no value where the server refuses to read them, and warns once', async () => {
    const { redis } = server;
    const { look, memory, log } = readerOn(server);
    const at = Date.now() + LEAD - 1_000;
    for (const key of ['s1', 's2']) await redis.set(key, '1', 'PXAT', at);
    await redis.acl('SETUSER', 'default', '-getrange');
    onTestFinished(() => void redis.acl('SETUSER', 'default', '+getrange'));

    for (const key of ['s1', 's2'])
      expect(await look({ [key]: at })).toMatchObject([{ isDying: true }]);
    expect(memory.get('s1')).toMatchObject({ value: undefined });
    await redis.acl('SETUSER', 'default', '-@scripting');
    onTestFinished(() => void redis.acl('SETUSER', 'default', '+@scripting'));
    expect(await look({ s1: at })).toEqual([{ deadline: at, isDying: true }]);
    expect(log.texts('warn', 'let the module read values')).toHaveLength(1);
  });
});
