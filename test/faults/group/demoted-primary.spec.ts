import { describe, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { Pair } from '../../support/faults/failover.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { names } from '../../support/group/history.js';
import { TrackedKeys } from '../../support/group/tracked-keys.js';

describe('a group whose primary becomes a replica under its connections', () => {
  it(
    'ends at the new primary what it was handling, and goes on there',
    { timeout: 240_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const { history, bed } = group;
      const pair = await Pair.of(bed, group.server);
      const { secondAdmin } = pair;
      // As where a parameter group of the operator's sets them at every server.
      await secondAdmin.config('SET', 'notify-keyspace-events', 'Kgxn');
      const proxy = await bed.proxy(group.server, { latency: 4 });
      const fleet = group.fleet(
        { connection: proxy.url },
        { work: [2_000, 4_000] },
      );
      await fleet.start(2);
      await group.keys.set(spread(names('slow', 150), 500, 1_000));
      await eventually(() => expect(history.handlings).toHaveLength(150));

      await pair.swap();
      proxy.leadTo(pair.second.port);
      // Whoever leads has found the new primary.
      await eventually(async () =>
        expect(await secondAdmin.pubsub('NUMPAT')).not.toBe(0),
      );
      const there = new TrackedKeys(secondAdmin, history);
      await there.set(spread(names('new', 300), 1_000, 4_000));
      await group.settles();

      expect(history.counts).toEqual({ handled: 450, redelivered: 0 });
    },
  );
});
