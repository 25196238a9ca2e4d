import { describe, expect, it, onTestFinished } from 'vitest';
import { groupKeys } from '../../../lib/group/group-keys.js';
import { GraceRecord } from '../../../lib/group/grace-record.js';
import { RunCounts } from '../../../lib/group/run-counts.js';
import {
  fromPayload,
  toPayload,
  type StoredEvent,
} from '../../../lib/group/stored-event.js';
import { RETURNED } from '../../../lib/scripts/returned.lua.js';
import { eventsOf, judgeOn, lapsed } from '../../support/group/judging.js';
import { KEYS, commandsOn, streamOn } from '../../support/group/parts.js';
import {
  type TestServer,
  onEveryServer,
  useServer,
} from '../../support/servers.js';

const K = Buffer.from('k');
const eventOf = (redisKey: Buffer, detected: number): StoredEvent => ({
  ...{ redisKey, detected, deadline: undefined, source: 'notification' },
  ...{ handler: undefined, tries: 0, runs: RunCounts.none, passes: 0 },
});
const SECOND = 1_000;

const scoresOf = async (server: TestServer, zset: string) => {
  const flat = await server.redis.zrange(zset, '0', '-1', 'WITHSCORES');
  return Object.fromEntries(
    flat.flatMap((name, i) =>
      i % 2 === 0 ? [[name, Number(flat[i + 1])]] : [],
    ),
  );
};

onEveryServer(
  'SWEEP and RETURNED',
  (server) => {
    const returned = (...keys: string[]) =>
      RETURNED.run(
        ...([server.redis, [KEYS.ended, KEYS.back]] as const),
        ...keys.flatMap((key) => [key, '']),
      );

    async function scene() {
      const parts = await judgeOn(server);
      parts.node.graces = {
        longest: 60 * SECOND,
        cover: (key) => !key.toString().startsWith('plain'),
      };
      /** The key runs out, and is looked at. Resolves with the event. */
      const fire = async (key = 'k') => {
        await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
        const at = await lapsed(server.redis, key);
        await parts.index.enrol([{ key: Buffer.from(key), at }]);
        await parts.judge.judge([Buffer.from(key)]);
        return (await eventsOf(server)).at(-1)!;
      };
      return { ...parts, fire };
    }

    it('note which keys of handlers with a grace run out, and no other', async () => {
      const { fire } = await scene();
      const { detected } = await fire();
      await fire('plain');

      expect(await scoresOf(server, KEYS.ended)).toEqual({ k: detected });
      expect(await scoresOf(server, KEYS.back)).toEqual({});
    });

    it('write nothing where no handler has a grace', async () => {
      const { judge, index } = await judgeOn(server);
      await server.redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
      const at = await lapsed(server.redis, 'k');
      await index.enrol([{ key: K, at }]);
      await judge.judge([K]);

      expect(await eventsOf(server)).toHaveLength(1);
      expect(await server.redis.exists(KEYS.ended, KEYS.back)).toBe(0);
    });

    it('note that a key is there again, once, and only of one that had run out', async () => {
      const { fire } = await scene();
      const { detected } = await fire();
      expect(await returned('k', 'other')).toBe(0);
      await server.redis.mset('k', 'again', 'other', '1');
      expect(await returned('other', 'k')).toBe(1);
      const noted = await scoresOf(server, KEYS.back);
      expect(await returned('k')).toBe(0);

      expect(Object.keys(noted)).toEqual([`${detected}:k`]);
      expect(noted[`${detected}:k`]).toBeGreaterThanOrEqual(detected);
      expect(await scoresOf(server, KEYS.ended)).toEqual({});
    });

    it('note that a key was created after its expiry, though it is gone, if that was its last one', async () => {
      const { fire, fired } = await scene();
      const first = await fire();
      const second = await fire();
      const send = (at: number) =>
        RETURNED.run(server.redis, [KEYS.ended, KEYS.back], 'k', at);
      expect(fired).toEqual([
        ['k', first.detected, false],
        ['k', second.detected, false],
      ]);
      expect(await send(first.detected)).toBe(0);
      expect(await send(second.detected)).toBe(1);
      expect(await send(second.detected)).toBe(0);

      expect(Object.keys(await scoresOf(server, KEYS.back))).toEqual([
        `${first.detected}:k`,
        `${second.detected}:k`,
      ]);
    });

    it('note by its next expiry that a key was back, at its new deadline at the latest', async () => {
      const { fire } = await scene();
      const first = await fire();
      const second = await fire();
      const third = await fire();

      expect(second.deadline).toBeGreaterThan(first.detected);
      expect(await scoresOf(server, KEYS.back)).toEqual({
        [`${first.detected}:k`]: second.deadline,
        [`${second.detected}:k`]: third.deadline,
      });
      expect(await scoresOf(server, KEYS.ended)).toEqual({ k: third.detected });
    });

    it('forget what is older than the longest grace', async () => {
      const { fire } = await scene();
      const now = Date.now();
      await server.redis.zadd(
        KEYS.ended,
        now - 150 * SECOND,
        'old',
        now - 110 * SECOND,
        'new',
      );
      await server.redis.zadd(
        KEYS.back,
        now - 700 * SECOND,
        '1:old',
        now - 650 * SECOND,
        '1:new',
      );
      await fire();

      expect(Object.keys(await scoresOf(server, KEYS.ended))).toEqual([
        'new',
        'k',
      ]);
      expect(Object.keys(await scoresOf(server, KEYS.back))).toEqual(['1:new']);
    });
  },
  { args: ['--enable-debug-command', 'yes'] },
);

describe('GraceRecord', () => {
  const server = useServer();
  function record(elsewhere?: (key: Buffer) => string | undefined) {
    const commands = commandsOn(server);
    onTestFinished(() => commands.close());
    const others = { commands, keys: groupKeys('rx:', 'g:1', 1) };
    return new GraceRecord(
      ...([commands, KEYS, { group: 'g', consumer: 'a' }] as const),
      (key) =>
        elsewhere?.(key) === 'there' ? others : { commands, keys: KEYS },
    );
  }

  it('tells what came back before its end, of any bytes', async () => {
    const bytes = Buffer.from([0xff, 0x00, 0x3a]);
    const name = Buffer.concat([Buffer.from('500:'), bytes]);
    await server.redis.zadd(KEYS.back, 900, name, 901, '500:late');
    const of = (key: Buffer, detected: number) => ({
      ...{ event: eventOf(key, detected), end: 900 },
    });

    expect(
      await record().ended([
        of(bytes, 500),
        of(bytes, 501),
        of(Buffer.from('late'), 500),
        of(Buffer.from('none'), 500),
      ]),
    ).toEqual([true, false, false, false]);
  });

  it('tells what was armed anew in the step that told of its expiry, or of a later one', async () => {
    const of = (
      name: string,
      deadline: number | undefined,
      detected = 500,
    ) => ({
      event: { ...eventOf(Buffer.from(name), detected), deadline },
      end: 900,
    });
    await server.redis.zadd(
      KEYS.settled,
      ...[450, 'ek', 450, 'cother', 700, 'etwice', 950, 'elater'],
      // The server refused to write it again.
      ...[450.5, 'erefused'],
    );

    expect(
      await record().ended([
        of('k', 450),
        of('k', 451),
        of('k', undefined),
        of('k', 450, 901),
        of('other', 450),
        of('twice', 450),
        of('later', 450),
        of('refused', 450),
      ]),
    ).toEqual([true, false, false, false, false, true, false, false]);
  });

  it('asks the partition that watches a key by now whether it ran out there', async () => {
    await server.redis.zadd(
      'rx:{g:1}:1:ended',
      700,
      'there',
      950,
      'too late',
      450,
      'before',
    );
    const keys = ['there', 'too late', 'before', 'none', 'here'];
    const absences = keys.map((key) => ({
      ...{ event: eventOf(Buffer.from(key), 500), end: 900 },
    }));
    const graces = record((key) =>
      key.toString() === 'here' ? 'here' : 'there',
    );

    expect(await graces.ended(absences)).toEqual([
      ...[true, false, false, false, false],
    ]);
  });

  it('sets an event aside with a note of it, while the entry is this instance’s', async () => {
    const stream = await streamOn(server, 'a');
    await server.redis.xadd(KEYS.events, '*', 'p', toPayload(eventOf(K, 1)));
    const [entry] = await stream.read(1);
    entry!.runs = RunCounts.none.settingAside('A');
    const waits = [
      {
        id: 'A',
        due: 5_000_000_000_000,
        payload: toPayload({ ...eventOf(K, 1), handler: 'A' }),
      },
    ];

    expect(await record().setAside(entry!, waits)).toBe(true);
    expect(await record().setAside(entry!, waits)).toBe(true);
    const [waiting, ...more] = await server.redis.zrange(KEYS.grace, '0', '-1');
    expect(fromPayload(waiting!)).toMatchObject({ handler: 'A' });
    expect(more).toEqual([]);
    const [again] = await stream.readAgain();
    expect(again!.runs.isSetAside('A')).toBe(true);

    await stream.acknowledge([entry!.id]);
    await server.redis.del(KEYS.grace);
    expect(await record().setAside(entry!, waits)).toBe(false);
    expect(await server.redis.exists(KEYS.grace)).toBe(0);
  });
});
