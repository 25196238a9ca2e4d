import { describe, expect, inject, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import {
  hearingBy,
  keysAt,
  promotionOfOther,
} from '../../support/faults/sentinel-scene.js';
import { spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { useSentinel } from '../../support/sentinel.js';

/** Ms for which what a server announced before its end may have been under way. */
const LAST = 100;

describe.each(inject('redisServers'))(
  'broadcast by Sentinels on $name',
  ({ path }) => {
    const sentinel = useSentinel({
      path,
      args: ['--enable-debug-command', 'yes'],
    });

    it(
      'hears the server that replaces one that is killed',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, history } = await hearingBy(context, sentinel);
        const old = await sentinel.primary();
        await keysAt(old, history).set(spread(names('k', 500), 300, 4_000));
        await eventually(() =>
          expect(history.handlings.length).toBeGreaterThan(30),
        );
        await sentinel.wait();

        const promoted = promotionOfOther(sentinel, old);
        const killedAfter = Date.now();
        const killedAt = await sentinel.kill(old);
        const promotion = await promoted;
        const { address } = hearing.nodes[0]!;
        const gap = await hearing.resumed(address);
        const keys = keysAt(promotion.server, history);
        await keys.set(spread(names('after', 300), 200, 1_500));

        hearing.expectSoonAfter(promotion, gap.to, 'a server killed');
        expect(gap.from).toBeLessThanOrEqual(killedAt);
        const missed = await hearing.accounts(
          (_, deadline) => killedAfter - LAST <= deadline && deadline <= gap.to,
        );
        console.log(`${missed} missed, all due after the kill`);
        await sentinel.settled();
      },
    );

    it(
      'says nothing that the old one says, while it still is a primary, after it was replaced by command, nor what both say',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, history } = await hearingBy(context, sentinel);
        const old = await sentinel.primary();
        // Else the new one would mostly be done with what the old one tells, before it is listened to.
        for (const { redis } of await sentinel.replicas()) {
          await redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
          context.onTestFinished(async () => {
            await redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '1');
          });
        }
        const renewed = names('renewed', 200);
        // Due after Sentinels named the new one, about a second after its promotion, and before they demoted the old one.
        await keysAt(old, history).set(spread(renewed, 2_800, 4_200));
        await keysAt(old, history).set(spread(names('k', 300), 300, 5_000));
        await sentinel.wait();

        const promoted = promotionOfOther(sentinel, old);
        const over = sentinel.failover();
        const promotion = await promoted;
        const keys = keysAt(promotion.server, history);
        const lapsed = await keys.tryToRenew(spread(renewed, 6_000, 6_500));
        expect(lapsed.length).toBeLessThan(150);
        expect(await old.redis.role()).toContain('master');
        await keys.set(spread(names('after', 100), 500, 3_000));
        await over;
        console.log(
          `the old one was a primary for ${Date.now() - promotion.at} ms more at most`,
        );
        const { address } = hearing.nodes[0]!;
        const gap = await hearing.resumed(address);
        await keys.set(spread(names('later', 100), 200, 1_500));

        console.log(
          `listening ${gap.to - promotion.at} ms after the promotion, gap from ${gap.from - promotion.at} ms`,
        );
        await hearing.accounts(
          (_, deadline) => gap.from - LAST <= deadline && deadline <= gap.to,
        );
        hearing.expectSoonAfter(promotion, gap.to, 'SENTINEL FAILOVER');
      },
    );

    it(
      'says nothing that one says that hung, and was replaced meanwhile',
      { timeout: 180_000 },
      async (context) => {
        const { hearing, history } = await hearingBy(context, sentinel);
        const old = await sentinel.primary();
        const renewed = names('renewed', 200);
        await keysAt(old, history).set(spread(renewed, 3_000, 6_000));
        await sentinel.wait();

        const promoted = promotionOfOther(sentinel, old);
        const over = sentinel.untilPromoted();
        old.process.pause();
        const hungAt = Date.now();
        const promotion = await promoted;
        const keys = keysAt(promotion.server, history);
        const lapsed = await keys.tryToRenew(spread(renewed, 7_000, 8_000));
        expect(lapsed.length).toBeLessThan(100);
        await keys.set(spread(names('after', 100), 500, 5_000));
        // It awakes when the keys that were renewed elsewhere are due here.
        await eventually(() =>
          expect(Date.now()).toBeGreaterThan(hungAt + 4_000),
        );
        old.process.resume();
        await over;
        await sentinel.settled();
        const { address } = hearing.nodes[0]!;
        const gap = await hearing.resumed(address);
        await keys.set(spread(names('later', 100), 200, 1_500));

        await hearing.accounts(
          (_, deadline) => hungAt - LAST <= deadline && deadline <= gap.to,
        );
        hearing.expectSoonAfter(promotion, gap.to, 'a server hung');
      },
    );
  },
);
