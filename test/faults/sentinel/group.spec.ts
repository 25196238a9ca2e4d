import { describe, expect, inject, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { busyGroup } from '../../support/faults/busy-group.js';
import {
  groupBy,
  keysAt,
  promotionOfOther,
} from '../../support/faults/sentinel-scene.js';
import { spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { useSentinel } from '../../support/sentinel.js';

const ALL = (): boolean => true;

describe.each(inject('redisServers'))(
  'a group by Sentinels on $name',
  ({ path }) => {
    const sentinel = useSentinel({ path });

    it(
      'loses nothing when its server is killed and replaced',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupBy(context, sentinel);
        const { traffic, fleet } = await busyGroup(scene);
        const old = await sentinel.primary();

        await traffic.hold(ALL);
        await sentinel.wait();
        const promoted = promotionOfOther(sentinel, old);
        await sentinel.kill(old);
        const promotion = await promoted;
        traffic.release();
        await fleet.leader();
        console.log(`led ${Date.now() - promotion.at} ms after the promotion`);
        await traffic.end();
        await scene.settles({ rolledBack: true });

        expect(scene.history.counts.handled).toBe(scene.history.expected);
        await sentinel.settled();
      },
    );

    it(
      'loses, repeats and invents nothing when its server is replaced by command, and goes on as a primary for a while',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupBy(context, sentinel);
        const old = await sentinel.primary();
        await scene.fleet({ leaseDuration: 1_000 }).start(3);
        const beating = names('beating:', 200);
        // Due after Sentinels named the new one, about a second after its promotion.
        await scene.keys.set(spread(beating, 3_200, 4_600));
        await scene.keys.set(spread(names('k:', 300), 1_200, 5_000));
        await scene.knows(500);
        await sentinel.wait();

        const promoted = promotionOfOther(sentinel, old);
        const over = sentinel.failover();
        const { server } = await promoted;
        const keys = keysAt(server, scene.history);
        const lapsed = await keys.tryToRenew(spread(beating, 7_000, 8_000));
        expect(lapsed.length).toBeLessThan(150);
        expect(await old.redis.role()).toContain('master');
        await keys.set(spread(names('after:', 100), 6_000, 8_000));
        await over;
        await scene.settles({ rolledBack: true });
      },
    );

    it(
      'loses, repeats and invents nothing when its server hangs, is replaced, and awakes',
      { timeout: 180_000 },
      async (context) => {
        const scene = await groupBy(context, sentinel);
        const old = await sentinel.primary();
        await scene.fleet({ leaseDuration: 1_000 }).start(3);
        const beating = names('beating:', 200);
        await scene.keys.set(spread(beating, 3_000, 6_000));
        await scene.keys.set(spread(names('k:', 300), 3_000, 6_000));
        await scene.knows(500);
        await sentinel.wait();

        const promoted = promotionOfOther(sentinel, old);
        const over = sentinel.untilPromoted();
        old.process.pause();
        const hungAt = Date.now();
        const { server } = await promoted;
        const keys = keysAt(server, scene.history);
        const lapsed = await keys.tryToRenew(spread(beating, 7_000, 8_000));
        expect(lapsed.length).toBeLessThan(100);
        await keys.set(spread(names('after:', 100), 7_000, 9_000));
        // It awakes when the keys that were renewed elsewhere are due here.
        await eventually(() =>
          expect(Date.now()).toBeGreaterThan(hungAt + 4_000),
        );
        old.process.resume();
        await over;
        await scene.settles({ rolledBack: true });
      },
    );
  },
);
