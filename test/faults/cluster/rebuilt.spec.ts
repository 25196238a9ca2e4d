import { describe, expect, inject, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { keyForSlot, useCluster } from '../../support/cluster.js';
import { collect } from '../../support/collect.js';
import { expectEach } from '../../support/cluster/expecting.js';
import { eventually } from '../../support/eventually.js';
import { bedOf } from '../../support/faults/bed.js';
import { handler } from '../../support/group/app.js';

const OLDER = 'The Cluster tells of an older state than before';
const USER = { username: 'app', password: 'secret' };

describe.each(inject('redisServers'))(
  'broadcast and a group on a Cluster of $name that is made anew at the same addresses',
  ({ path }) => {
    const cluster = useCluster(3, { path, replicas: 1 });
    /** One for each primary. */
    const keys = [0, 8_000, 16_000].map((slot) => keyForSlot(slot, 'k'));

    const admitUser = () =>
      Promise.all(
        cluster.servers.map(({ redis }) =>
          redis.acl('SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all'),
        ),
      );

    /** An application that knows other primaries, by higher epochs, than the Cluster made anew will have. */
    async function application(login: object = {}) {
      const heard = collect<KeyExpiredEvent>();
      const handled = collect<KeyExpiredEvent>();
      const { subscriber, logs } = await createApp({
        imports: [
          RedisExpiryModule.forRoot({
            connection: {
              nodes: cluster.nodes,
              options: { redisOptions: login },
            },
            group: 'presence',
          }),
        ],
        providers: [
          handler('k*', heard.add, { group: false }),
          handler('k*', handled.add),
        ],
      });
      const nodes = () => [
        subscriber.status().nodes,
        subscriber.status().groups[0]!.nodes,
      ];
      /** Resolves when both listen to the primaries, and to nothing else. */
      const follow = async (timeout = 10_000) => {
        const primaries = await cluster.primaries();
        const wanted = primaries.map((p) => `${p.address} listening`);
        await eventually(
          () => {
            for (const each of nodes())
              expect(
                each.map((n) => `${n.address} ${n.state}`).toSorted(),
              ).toEqual(wanted.toSorted());
          },
          { timeout },
        );
      };
      const handleAll = async () => {
        await expectEach(await cluster.connect(), keys, [heard, handled]);
        expect([...heard.rest, ...handled.rest]).toEqual([]);
      };
      for (const primary of await cluster.primaries()) {
        const replica = await cluster.replicaOf(primary);
        await cluster.failover(replica, 'TAKEOVER');
      }
      await follow();
      await handleAll();
      const older = () => logs.texts('warn', OLDER);
      return { subscriber, follow, handleAll, older };
    }

    it('go on after some seconds, and say why, where it tells of lower epochs than the one before', async (context) => {
      bedOf(context);
      await admitUser();
      const app = await application(USER);

      const killedAt = Date.now();
      await cluster.rebuild();
      // Nobody told the application anything while it was made: its user did not exist.
      expect(app.older()).toEqual([]);
      await admitUser();
      await app.follow();

      for (const { lastGap } of app.subscriber.status().nodes) {
        expect(lastGap!.from.getTime()).toBeLessThanOrEqual(killedAt);
        expect(lastGap!.to!.getTime()).toBeGreaterThan(killedAt);
      }
      await app.handleAll();
      expect(app.older()).toHaveLength(1);
    });

    it('go on soon where they see it being made', async (context) => {
      bedOf(context);
      const app = await application();

      await cluster.rebuild();
      await app.follow();

      await app.handleAll();
      expect(app.older().length).toBeLessThanOrEqual(1);
    });
  },
);
