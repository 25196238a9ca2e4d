import { expect } from 'vitest';
import { eventually } from '../eventually.js';
import { spread } from '../group/bed.js';
import { names } from '../group/history.js';
import type { GroupScene } from '../group/scene.js';
import type { Fleet } from '../group/workers.js';
import { paced } from '../paced.js';
import { Random } from '../random.js';
import { Traffic } from './traffic.js';

export interface BusyGroup {
  readonly fleet: Fleet;
  readonly traffic: Traffic;
}

export interface BusyOptions {
  /** Further keys that are kept alive, and that run out. */
  readonly beating?: readonly string[];
  readonly expiring?: readonly string[];
}

/**
 * A group of three processes that has something to do: keys run out for some seconds from now on
 * and are known to the group, others come, are kept alive, and are deleted.
 */
export async function busyGroup(
  scene: GroupScene,
  { beating = [], expiring = [] }: BusyOptions = {},
): Promise<BusyGroup> {
  const fleet = scene.fleet({ leaseDuration: 1_000 }, { work: [1, 10] });
  await fleet.start(3);
  const deleting = names('deleted:', 150);
  const lives = paced(3_000);
  const traffic = new Traffic(scene.keys, {
    beating: [...names('beating:', 150), ...beating],
    deleting,
    // Known to the group before they run out, though it has to come back first.
    fresh: [lives, lives + 1_000],
  });
  await traffic.write();
  const all = new Random(1).shuffle([...names('k:', 900), ...expiring]);
  await scene.keys.set(spread(all, 2_000, 6_000));
  await scene.knows(300 + beating.length + all.length);
  traffic.begin();
  await eventually(() =>
    expect(scene.history.counts.handled).toBeGreaterThan(60),
  );
  return { fleet, traffic };
}
