import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { NOTE_PATTERNS } from '../../../lib/group/scripts/patterns.lua.js';
import { SharedPatterns } from '../../../lib/group/shared-patterns.js';
import { SubscriptionRegistry } from '../../../lib/keyspace/subscription-registry.js';
import { eventually } from '../../support/eventually.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import {
  type TestServer,
  onEveryServer,
  useServer,
} from '../../support/servers.js';

/** One instance: what it has handlers for, and what it would watch. */
function instanceOn(server: TestServer, ...patterns: string[]) {
  const commands = commandsOn(server);
  const own = new Set(patterns);
  const registry = new SubscriptionRegistry({
    ...{ database: 0, keyPrefix: '', namespace: 'rx' },
    ...{ hints: [], wantedFlags: '' },
  });
  const told = { changes: 0, errors: [] as unknown[] };
  const shared = new SharedPatterns(
    commands,
    KEYS,
    registry,
    () => own,
    () => told.changes++,
    (error) => told.errors.push(error),
  );
  onTestFinished(() => {
    shared.close();
    commands.close();
  });
  /** Own patterns are added to the registry by others. */
  const others = (): string[] => registry.redisPatterns().toSorted();
  return { shared, own, others, told };
}

onEveryServer('NOTE-PATTERNS', (server) => {
  const note = async (lifetime: number, ...patterns: string[]) => {
    const [added, ...all] = (await NOTE_PATTERNS.run(
      server.redis,
      [KEYS.patterns],
      lifetime,
      ...patterns,
    )) as [number, ...string[]];
    return { added, all: all.toSorted() };
  };

  it('tells everybody of all, and how many were new', async () => {
    expect(await note(60_000)).toEqual({ added: 0, all: [] });
    expect(await note(60_000, 'a:*')).toEqual({ added: 1, all: ['a:*'] });
    expect(await note(60_000, 'a:*', 'b:*', 'c:*')).toEqual({
      ...{ added: 2, all: ['a:*', 'b:*', 'c:*'] },
    });
    expect(await note(60_000)).toMatchObject({ added: 0 });
  });

  it('drops what nobody noted for its lifetime, and keeps what somebody renews', async () => {
    await note(60_000, 'left:*', 'kept:*');
    const dropped = await eventually(async () => {
      const { all } = await note(150, 'kept:*');
      expect(all).not.toContain('left:*');
      return all;
    });

    expect(dropped).toEqual(['kept:*']);
    // Back again, it is new.
    expect(await note(150, 'left:*')).toMatchObject({ added: 1 });
  });

  it('goes by the clock of Redis, and leaves nothing where nobody notes anything', async () => {
    await server.redis.zadd(KEYS.patterns, Date.now() - 500, 'old:*');
    expect(await note(60_000)).toMatchObject({ all: ['old:*'] });
    expect(await note(499)).toMatchObject({ all: [] });
    expect(await server.redis.exists(KEYS.patterns)).toBe(0);
  });
});

describe('SharedPatterns', () => {
  const server = useServer();
  beforeEach(async () => {
    expect(await server.redis.exists(KEYS.patterns)).toBe(0);
  });

  it("has the others' patterns watched, and its own left alone", async () => {
    const a = instanceOn(server, 'a:*', 'both:*');
    const b = instanceOn(server, 'b:*', 'both:*');
    expect(await a.shared.note()).toBe(true);
    expect(await b.shared.note()).toBe(true);
    expect(await a.shared.note()).toBe(false);

    expect(a.others()).toEqual(['b:*']);
    expect(b.others()).toEqual(['a:*']);
    expect([a.told.changes, b.told.changes]).toEqual([1, 1]);
    // Nothing new: nobody is told.
    await a.shared.note();
    expect(a.told.changes).toBe(1);
  });

  it('notes again and again until it is closed: what is new elsewhere comes by itself', async () => {
    const a = instanceOn(server, 'a:*');
    const b = instanceOn(server, 'b:*');
    await a.shared.start();
    await b.shared.note();
    await eventually(() => expect(a.others()).toEqual(['b:*']));
    const score = Number(await server.redis.zscore(KEYS.patterns, 'a:*'));
    await eventually(async () => {
      const now = Number(await server.redis.zscore(KEYS.patterns, 'a:*'));
      expect(now).toBeGreaterThan(score);
    });
    a.shared.close();
    b.own.add('later:*');
    await b.shared.note();
    // As long as it takes until it would have noticed.
    await a.shared.untilNoticed();

    expect(a.others()).toEqual(['b:*']);
    expect(a.told.errors).toEqual([]);
  });

  it('drops the patterns of an instance that left, a minute after its last note', async () => {
    const a = instanceOn(server, 'a:*');
    const b = instanceOn(server, 'b:*');
    await b.shared.note();
    await a.shared.note();
    const noted = async (ago: number): Promise<void> => {
      await server.redis.zadd(KEYS.patterns, Date.now() - ago, 'b:*');
      await a.shared.note();
    };
    await noted(50_000);
    expect(a.others()).toEqual(['b:*']);
    await noted(60_001);

    expect(a.others()).toEqual([]);
    expect(a.told.changes).toBe(2);
    expect(await server.redis.zrange(KEYS.patterns, '0', '-1')).toEqual([
      'a:*',
    ]);
  });

  it('keeps a pattern of others that it takes up, or gives up, itself', async () => {
    const a = instanceOn(server, 'a:*');
    const b = instanceOn(server, 'b:*');
    await b.shared.note();
    await a.shared.note();
    a.own.add('b:*');
    expect(await a.shared.note()).toBe(false);
    expect(a.others()).toEqual([]);
    a.own.delete('b:*');
    await a.shared.note();

    expect(a.others()).toEqual(['b:*']);
  });

  it('tells of an error, and goes on', async () => {
    const a = instanceOn(server, 'a:*');
    await server.redis.set(KEYS.patterns, 'no sorted set');
    await expect(a.shared.start()).rejects.toThrow('WRONGTYPE');
    await eventually(() => expect(a.told.errors).not.toEqual([]));
    await server.redis.del(KEYS.patterns);

    await eventually(async () => {
      const all = await server.redis.zrange(KEYS.patterns, '0', '-1');
      expect(all).toEqual(['a:*']);
    });
  });
});
