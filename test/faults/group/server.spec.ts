import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { paced } from '../../support/paced.js';

const recovered = (group: GroupBed): number =>
  group.history.handlings.filter(({ source }) => source === 'recovery').length;

describe('a group whose processes are all down', () => {
  it(
    'handles, at its start, exactly what expired meanwhile',
    { timeout: 180_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const fleet = group.fleet();
      const [first] = await fleet.start(1);
      const lapsing = names('lapsing', 1_000);
      const deleted = names('deleted', 1_000);
      const kept = names('kept', 200);
      const soon = Date.now() + paced(2_500);
      await group.keys.set(lapsing.map((key) => [key, soon]));
      // Beyond the start of those that come back.
      await group.keys.set(spread(deleted, paced(15_000), paced(16_000)));
      await group.keys.set(spread(kept, paced(15_000), paced(16_000)));
      await group.knows(2_200);
      await first!.stop();
      expect(Date.now()).toBeLessThan(soon);
      await group.keys.delete(deleted);
      // Redis itself removes them, unheard.
      await eventually(async () => {
        expect(await group.redis.exists(...lapsing)).toBe(0);
      });
      expect(group.history.handlings).toEqual([]);

      await fleet.start(3);
      const started = Date.now();
      await eventually(() => expect(recovered(group)).toBe(1_000));
      console.log(
        `1,000 recovered ${Date.now() - started} ms after all had started`,
      );
      expect(Date.now() - started).toBeLessThan(paced(5_000));
      await group.settles();

      expect(recovered(group)).toBe(1_000);
      expect(group.history.counts).toEqual({ handled: 1_200, redelivered: 0 });
    },
  );
});

describe('a group whose server crashes', () => {
  it.for([
    ['a snapshot', []],
    ['an append-only file', ['--appendonly', 'yes', '--appendfsync', 'always']],
  ] as const)(
    'loses nothing that was persisted by %s',
    { timeout: 180_000 },
    async ([, args], context) => {
      const group = await GroupBed.make(context, { args: [...args] });
      const fleet = group.fleet({ leaseDuration: 1_000 }, { work: [1, 10] });
      await fleet.start(2);
      await group.keys.set(spread(names('before', 500), 300, 1_000));
      await group.settles();
      // Some run out while the server is down, some while it comes back, some later.
      const soon = Date.now() + paced(2_500);
      await group.keys.set(
        spread(names('after', 1_500), paced(2_500), paced(7_000)),
      );
      const deleted = names('deleted', 300);
      await group.keys.set(spread(deleted, paced(16_000), paced(17_000)));
      await group.knows(1_800);
      await group.keys.delete(deleted);
      await group.knows(1_500);
      if (args.length === 0) await group.redis.save();
      await group.server.kill();
      // What is settled after the snapshot is rolled back with it.
      expect(Date.now()).toBeLessThan(soon);
      const crashed = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      await group.server.restart();
      console.log(`the server was away for ${Date.now() - crashed} ms`);
      await group.settles();

      expect(group.history.counts.handled).toBe(2_000);
    },
  );
});

describe('a group whose server is short of memory', () => {
  it('loses nothing while it may not write', async (context) => {
    const group = await GroupBed.make(context, {
      args: ['--maxmemory-policy', 'noeviction'],
    });
    const fleet = group.fleet({ leaseDuration: 1_000 });
    await fleet.start(2);
    await group.keys.set(spread(names('k', 1_000), paced(1_500), paced(4_500)));
    await group.knows(1_000);
    await eventually(() =>
      expect(group.history.counts.handled).toBeGreaterThan(100),
    );
    await group.redis.config('SET', 'maxmemory', '1mb');
    // Events come to an end, though keys go on expiring.
    await eventually(async () => {
      const before = group.history.handlings.length;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect(group.history.handlings.length).toBe(before);
    });
    expect(group.history.counts.handled).toBeLessThan(1_000);
    await expect(group.redis.set('x', '1')).rejects.toThrow(/^OOM/);
    await eventually(async () => {
      expect(await group.redis.keys('k*')).toEqual([]);
    });
    await group.redis.config('SET', 'maxmemory', '0');
    await group.settles();

    expect(group.history.counts).toMatchObject({ handled: 1_000 });
  });

  it('makes no event of keys that it evicts', async (context) => {
    const group = await GroupBed.make(context, {
      args: ['--maxmemory-policy', 'volatile-lru'],
    });
    const fleet = group.fleet();
    await fleet.start(2);
    const all = names('k', 2_000);
    const lives = paced(8_000);
    const set = Date.now();
    await group.keys.set(spread(all, lives, lives + 2_000));
    await group.knows(2_000);
    const memory = /^used_memory:(\d+)/m.exec(await group.redis.info('memory'));
    const less = Number(memory![1]) - 50_000;
    await group.redis.config('SET', 'maxmemory', less);
    // Room can only be made of keys with a TTL.
    await group.redis.set('ballast', '1').catch(() => undefined);
    await group.redis.config('SET', 'maxmemory', '0');
    // None is evicted any more, and none has run out yet.
    const alive = await group.redis
      .pipeline(all.map((key) => ['exists', key]))
      .exec();
    expect(Date.now()).toBeLessThan(set + lives);
    all.forEach((key, i) => {
      if (alive![i]![1] === 0) group.history.ended(key, 'lost');
    });
    const evicted = 2_000 - group.history.expected;
    console.log(`${evicted} of 2,000 were evicted`);
    expect(evicted).toBeGreaterThan(100);
    expect(evicted).toBeLessThan(2_000);
    await group.settles();
    await group.knows(0);
  });
});

describe('a group whose keys go otherwise than by expiring', () => {
  it('makes no event of keys that are deleted, renamed, moved, overwritten, persisted or flushed', async (context) => {
    const group = await GroupBed.make(context);
    const { redis, history, keys } = group;
    await redis.config('SET', 'notify-keyspace-events', 'K$');
    const fleet = group.fleet({}, { pattern: 'k:*' });
    await fleet.start(2);
    const ways = [
      'del',
      'unlink',
      'rename',
      'move',
      'set',
      'persist',
      'getdel',
    ];
    const all = ways.flatMap((way) => names(`k:${way}:`, 20));
    await keys.set(spread([...all, 'k:fires'], 2_000, 2_500));
    await group.knows(141);
    const pipeline = redis.pipeline();
    for (const key of all) {
      const way = key.split(':')[1];
      if (way === 'rename') pipeline.rename(key, `elsewhere:${key}`);
      else if (way === 'move') pipeline.move(key, 1);
      else if (way === 'set') pipeline.set(key, 'without a deadline');
      else pipeline.call(way!, key);
      history.ended(key, 'deleted');
    }
    await pipeline.exec();
    await group.settles();
    expect(history.counts.handled).toBe(1);
    await group.knows(0);
    expect(await redis.exists(...names('k:set:', 20))).toBe(20);

    await keys.set(spread(names('k:flushed:', 50), 3_000, 3_000));
    await group.knows(50);
    await redis.flushall();
    for (const key of names('k:flushed:', 50)) history.ended(key, 'lost');
    await fleet.leader();
    await keys.set(spread(names('k:again:', 50), 3_000, 3_500));
    await group.settles();
    expect(history.counts).toEqual({ handled: 51, redelivered: 0 });
  });
});
