import { describe, expect, it } from 'vitest';
import { Pair } from '../../support/faults/failover.js';
import { GroupBed, spread } from '../../support/group/bed.js';
import { paced } from '../../support/paced.js';
import { names } from '../../support/group/history.js';
import { TrackedKeys } from '../../support/group/tracked-keys.js';

describe('a group whose primary becomes a replica under its connections', () => {
  it(
    'goes on at the new primary, and loses nothing',
    { timeout: 240_000 },
    async (context) => {
      const group = await GroupBed.make(context);
      const pair = await Pair.of(group.bed, group.server);
      const proxy = await group.bed.proxy(group.server, { latency: 4 });
      const options = { leaseDuration: 1_000, connection: proxy.url };
      const fleet = group.fleet(options, { work: [1, 10] });
      await fleet.start(2);
      // Known before the primary is demoted, over a slow link.
      const lead = paced(5_000);
      await group.keys.set(spread(names('k', 2_000), lead, lead + 28_000));
      const deleted = names('deleted', 200);
      await group.keys.set(spread(deleted, lead + 29_000, lead + 30_000));
      await group.knows(2_200);

      await pair.swap();
      proxy.leadTo(pair.second.port);
      const there = new TrackedKeys(pair.secondAdmin, group.history);
      await there.delete(deleted);
      await there.set(spread(names('new', 300), 20_000, 30_000));
      await group.settles();

      expect(group.history.counts.handled).toBe(2_300);
      expect(await pair.secondAdmin.exists('rx:{presence}:lease')).toBe(1);
    },
  );
});
