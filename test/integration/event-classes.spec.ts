import { expect, it } from 'vitest';
import { needsOfChannel } from '../../lib/listening/channel-needs.js';
import { createApp, redisExpiry } from '../support/app.js';
import { collect } from '../support/collect.js';
import { type TestServer, connect, onEveryServer } from '../support/servers.js';

/** Commands that together cause every event that a server without modules announces; those that it does not know are left out. */
const COMMANDS = `
  SET string 1|SETRANGE string 0 ab|APPEND string c|SET string 1|INCR string|INCRBYFLOAT string 0.5
  SETBIT string 1 1|PFADD hll a|GETSET string 1|SETEX string 100 1|GET missing|MSET string 1
  EXPIRE string 100|PERSIST string|RENAME string other|MOVE other 5|COPY set-a set-b|DEL string
  RPUSH list a b c d|LPUSH list z|LPOP list|RPOP list|LINSERT list BEFORE b x|LSET list 0 y|LREM list 0 x
  LTRIM list 0 1|SORT list ALPHA STORE sorted|RPUSH list a b|LMOVE list list2 LEFT RIGHT
  SADD set-a a b c|SADD set-b b|SPOP set-a|SADD set-a a b|SREM set-a a|SINTERSTORE set-c set-a set-b
  SUNIONSTORE set-c set-a set-b|SDIFFSTORE set-d set-a set-e|COPY set-a set-f
  HSET hash a 1 b 2|HINCRBY hash a 1|HINCRBYFLOAT hash a 0.5|HDEL hash a|HPEXPIRE hash 50000 FIELDS 1 b
  HPERSIST hash FIELDS 1 b|HPEXPIRE hash 1 FIELDS 1 b|HSET hash c 1
  ZADD zset 1 a 2 b 3 c 4 d 5 e|ZINCRBY zset 1 a|ZPOPMIN zset|ZPOPMAX zset|ZADD zset 1 a 5 e 6 f 7 g
  ZREM zset a|ZREMRANGEBYRANK zset 0 0|ZREMRANGEBYSCORE zset 3 3|ZADD zset 6 f|ZREMRANGEBYLEX zset - +
  ZADD zset 1 a 2 b|ZADD zset2 1 a|ZUNIONSTORE zset3 2 zset zset2|ZINTERSTORE zset3 2 zset zset2
  ZDIFFSTORE zset4 2 zset zset2|ZRANGESTORE zset5 zset 0 -1|GEOADD geo 13 38 a
  GEOSEARCHSTORE geo2 geo FROMLONLAT 13 38 BYRADIUS 1 km|GEORADIUS geo 13 38 1 km STORE geo3
  XADD stream 1-1 a 1|XADD stream 1-2 a 1|XDEL stream 1-1|XTRIM stream MAXLEN 0|XSETID stream 9-9
  XGROUP CREATE stream g $|XGROUP SETID stream g 0|XGROUP CREATECONSUMER stream g c|XGROUP DELCONSUMER stream g c
  XGROUP DESTROY stream g|SET over 1|SET over 2|DEL list|SET list 1|RPUSH typed a|SET typed 1
  SET gone 1 PX 1|RESTORE restored 0 DUMP
`
  .trim()
  .split(/[|\n]/)
  .map((line) => line.trim().split(' '));

/** Runs the commands, and returns the events that are announced meanwhile. */
async function eventsOf(server: TestServer): Promise<Set<string>> {
  const redis = await connect(server);
  const listener = await connect(server);
  const events = new Set<string>();
  listener.on('pmessage', (_pattern: string, channel: string) =>
    events.add(channel.slice('__keyevent@0__:'.length)),
  );
  await listener.psubscribe('__keyevent@0__:*');
  await redis.flushall();
  for (const [command, ...args] of COMMANDS) {
    if (command === 'RESTORE') {
      const dump = await redis.dumpBuffer('over');
      await redis.restore('restored', 0, dump!);
    } else await redis.call(command!, ...args).catch(() => undefined);
  }
  while (await redis.exists('gone'));
  const fieldTtl = () =>
    redis.call('HPTTL', 'hash', 'FIELDS', '1', 'b').catch(() => [-1]);
  while (((await fieldTtl()) as number[])[0]! >= 0);
  // Its time has come, where fields have any: to ask for it lets it expire on Redis, and to write it on Valkey.
  await redis.hexists('hash', 'b');
  await redis.hset('hash', 'b', '1');
  // What was announced before this is answered has been heard.
  await listener.ping();
  listener.disconnect();
  redis.disconnect();
  return events;
}

onEveryServer('psubscribe of an event', (server) => {
  it('knows the class of every event that the server announces', async () => {
    await server.setFlags('KEAnm');
    await server.redis
      .config('SET', 'notify-keyspace-events', 'KEAnmoc')
      .catch(() => undefined);
    const events = await eventsOf(server);
    // That the commands do cause them, more or less.
    expect(events.size).toBeGreaterThan(45);

    const needs = new Map(
      [...events].map((event) => [
        event,
        needsOfChannel(`__keyevent@0__:${event}`)!,
      ]),
    );
    expect(
      [...needs.values()].filter(({ unknown }) => unknown !== undefined),
    ).toEqual([]);
    const byClass = new Map<string, string[]>();
    for (const [event, { letters }] of needs)
      byClass.set(letters, [...(byClass.get(letters) ?? []), event]);
    for (const [letters, expected] of byClass) {
      // The module always has `x` on: in Valkey, `hexpired` is of that class.
      await server.setFlags(`${letters}x`);
      const announced = await eventsOf(server);
      expect(expected.filter((event) => !announced.has(event))).toEqual([]);
    }
  });

  async function hear(channelPattern: string) {
    const { subscriber, logs } = await createApp({
      imports: [redisExpiry(server)],
    });
    const heard = collect<string>();
    await subscriber.psubscribe(channelPattern, (_pattern, channel) =>
      heard.add(channel.slice('__keyevent@0__:'.length)),
    );
    return { heard, logs };
  }

  it.each([
    ['zpopmin', 'zpopmin'],
    ['setbit', 'setbit'],
    ['pfadd', 'pfadd'],
    ['xgroup-create', 'xgroup-create'],
    ['xgroup-*', 'xgroup-create xgroup-setid xgroup-createconsumer'],
    ['z*store', 'zunionstore zinterstore zdiffstore zrangestore'],
    ['[nk]e[wy]*', 'new keymiss'],
    ['*', 'set setbit keymiss new zadd sadd hset xadd lpush expired'],
  ])('%s hears it, on a server without flags', async (event, expected) => {
    const { heard, logs } = await hear(`__keyevent@0__:${event}`);

    await eventsOf(server);

    const distinct = new Set<string>();
    while (!expected.split(' ').every((name) => distinct.has(name)))
      distinct.add(await heard.one());
    expect(logs.texts('warn')).toEqual([]);
  });

  it.each([
    ['__keyevent@0__:no-such-event', 'the class of the event "no-such-event"'],
    ['__*@0__:expired', 'the family of channels'],
  ])('%s says what is not known', async (channel, unknown) => {
    const { logs } = await hear(channel);

    expect(logs.texts('warn')).toEqual([
      expect.stringMatching(
        new RegExp(`psubscribe.*${unknown}.*is not known.*Nothing is heard`),
      ),
    ]);
  });

  it('of which the server has no class says so, and takes nothing from others', async () => {
    const knows = await server.redis
      .config('SET', 'notify-keyspace-events', 'T')
      .then(
        () => true,
        () => false,
      );
    await server.setFlags('');
    const { subscriber, logs } = await createApp({
      imports: [redisExpiry(server)],
    });
    const heard = collect<string>();
    await subscriber.psubscribe('__subkeyevent@0__:hexpired', () => undefined);
    await subscriber.psubscribe('__keyevent@0__:zadd', (_p, _c, key) =>
      heard.add(key),
    );
    await subscriber.subscribe('k', ({ key }) => heard.add(key));

    const warning = expect.stringMatching(
      /does not know the flags "T" of notify-keyspace/,
    ) as string;
    expect(logs.texts('warn')).toEqual(knows ? [] : [warning]);
    await server.redis.zadd('zset', 1, 'a');
    await server.expire('k');
    expect((await heard.next(2)).toSorted()).toEqual(['k', 'zset']);
    expect(subscriber.status().nodes).toMatchObject([
      { state: 'listening', gaps: 0, missingFlags: knows ? '' : 'T' },
    ]);
  });
});
