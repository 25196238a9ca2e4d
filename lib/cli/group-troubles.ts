import type { GroupViewed } from '../group/group-view.js';
import { duration } from './duration.js';
import { counted } from './output.js';

/** Ms by which a deadline may be overdue without a word: the leader may change. */
const LATE_MS = 5_000;
/** Ms for which an event may wait for an instance without a word. */
const LONG_WAIT_MS = 60_000;

/** What is wrong with a group, in words. */
export function groupTroubles({
  total,
  partitions,
  silent,
  instances,
}: GroupViewed): string[] {
  const troubles: string[] = [];
  const living = instances.filter(({ state }) => state === 'living');
  if (living.length === 0)
    troubles.push(
      'no instance lives: expiries are not handled until one is started, and are recovered then',
    );
  for (const { tag, node, reason } of silent)
    troubles.push(
      `partition ${tag}${node === undefined ? '' : ` on ${node}`} cannot be asked: ${reason}`,
    );
  for (const { tag, leader, watchedAgo, lag, oldestWaiting } of partitions) {
    if (leader === undefined)
      troubles.push(
        `partition ${tag} has no leader: its deadlines are not watched${
          watchedAgo === undefined ? '' : `, for ${duration(watchedAgo)}`
        }`,
      );
    else if (lag > LATE_MS)
      troubles.push(
        `partition ${tag} has deadlines that have been due for ${duration(lag)}: look at the log of ${leader}`,
      );
    if (oldestWaiting !== undefined && oldestWaiting > LONG_WAIT_MS)
      troubles.push(
        `partition ${tag} has events that no instance has taken for ${duration(oldestWaiting)}: handlers are slower than expiries`,
      );
  }
  if (total.dead > 0)
    troubles.push(
      `${counted(total.dead, 'dead letter')}: see nestjs-redis-expiry dead-letters list`,
    );
  return troubles;
}
