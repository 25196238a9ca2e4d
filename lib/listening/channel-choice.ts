import type { ChannelKind } from './channels.js';
import type { NotificationFlags } from './notification-flags.js';

const KEYSPACE: ReadonlySet<ChannelKind> = new Set(['keyspace']);
const KEYEVENT: ReadonlySet<ChannelKind> = new Set(['keyevent']);
const BOTH: ReadonlySet<ChannelKind> = new Set(['keyspace', 'keyevent']);

/**
 * On which family of channels to listen for expiries. Keyspace channels are filtered by pattern at
 * the server, but carry every kind of event that is on; the keyevent channel carries expiries only,
 * but those of every key. Where it is not known what the server has: on both.
 */
export function chooseChannels(
  flags: NotificationFlags | undefined,
): ReadonlySet<ChannelKind> {
  if (!flags) return BOTH;
  if (flags.has('K') && !(flags.has('E') && flags.chatty)) return KEYSPACE;
  return flags.has('E') ? KEYEVENT : BOTH;
}

/** The same where only a self-test could tell: what it heard. */
export function chooseHeard(
  heardOn: ReadonlySet<ChannelKind>,
): ReadonlySet<ChannelKind> {
  if (heardOn.has('keyevent')) return KEYEVENT;
  return heardOn.has('keyspace') ? KEYSPACE : BOTH;
}

/** What to try when the ACL refuses the first choice. */
export const alternative = (
  kinds: ReadonlySet<ChannelKind>,
  flags: NotificationFlags | undefined,
): ReadonlySet<ChannelKind> | undefined => {
  if (kinds === KEYSPACE && (!flags || flags.has('E'))) return KEYEVENT;
  if (kinds === KEYEVENT && (!flags || flags.has('K'))) return KEYSPACE;
  return undefined;
};
