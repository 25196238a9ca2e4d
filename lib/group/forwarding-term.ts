import type { Commands } from '../connection/commands.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import type { Log } from '../util/log.js';
import type { GroupKeys } from './group-keys.js';

/**
 * What is known of a key that was due in a partition that nobody watches any more. `'missed'`: it may have run out while
 * nobody looked, so gone means expired. `'deleted'`: it was said to be gone without having expired.
 */
export type Fate = 'missed' | 'deleted' | 'unknown';

/** The leader's term in which entries are forwarded, as a `Forwarder` sees it. */
export interface ForwardingTerm {
  /** The fencing token. */
  readonly token: string;
  /** Of the partition whose entries are forwarded. */
  readonly keys: GroupKeys;
  /** The time of the server that has the partition. */
  readonly clock: RedisClock;
  readonly log: Log;
  /** The same connection, as long as the term lasts. */
  commands(connection: Commands): Commands;
  /** The index has an entry that is due then, which another partition may have brought. */
  due(soonest: number): void;
  /** For a partition that is drained: what became of a key whose deadline has passed. */
  fateOf?(entry: DeadlineEntry): Fate;
}
