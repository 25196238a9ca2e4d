/**
 * The two families of channels on which Redis announces what happens to keys. A keyspace channel
 * names the key, so that the server filters by pattern, and carries every kind of event that is on.
 * A keyevent channel names the event, and carries it for every key of the database. Where both are
 * on, Redis announces each event on the keyspace channel first.
 */
export type ChannelFamily = 'keyspace' | 'keyevent';

/** Both families, the one to be preferred first. */
export const FAMILIES: readonly ChannelFamily[] = ['keyspace', 'keyevent'];

/** The letter of `notify-keyspace-events` that switches a family on. */
export const LETTER_OF: Readonly<Record<ChannelFamily, string>> = {
  keyspace: 'K',
  keyevent: 'E',
};

/** `__keyspace@<db>__:<key>` carries the event's name; a glob may stand for the key. */
export const keyspaceChannel = (database: number, key: string): string =>
  `__keyspace@${database}__:${key}`;

/** `__keyevent@<db>__:<event>` carries the key. */
export const keyeventChannel = (database: number, event: string): string =>
  `__keyevent@${database}__:${event}`;

/** Whether SUBSCRIBE does for it. An ACL that grants `&__keyevent@0__:*` allows no PSUBSCRIBE but of that very text. */
export const isLiteralChannel = (channel: string): boolean =>
  !/[*?[\\]/.test(channel);

/**
 * The key that a message of a notification is about. Where the channel names it, it follows the
 * database, and what else there is is told from it by a separator; on other channels it is the
 * message, or the beginning of it.
 */
export function keyOfMessage(channel: Buffer, message: Buffer): Buffer {
  const rest = channel.subarray(channel.indexOf('__:') + 3);
  if (startsWith(channel, KEYSPACE)) return rest;
  if (!startsWith(channel, SUBKEY)) return message;
  if (startsWith(channel, SUBKEYEVENT)) {
    // As `5:thing|3:one`: the key with its length.
    const colon = message.indexOf(':');
    const length = Number(message.toString('latin1', 0, colon));
    return message.subarray(colon + 1, colon + 1 + length);
  }
  if (startsWith(channel, SUBKEYSPACEITEM))
    return rest.subarray(0, rest.indexOf('\n'));
  if (startsWith(channel, SUBKEYSPACEEVENT))
    return rest.subarray(rest.indexOf('|') + 1);
  return rest;
}

const KEYSPACE = Buffer.from('__keyspace@');
const SUBKEY = Buffer.from('__subkey');
const SUBKEYEVENT = Buffer.from('__subkeyevent@');
const SUBKEYSPACEITEM = Buffer.from('__subkeyspaceitem@');
const SUBKEYSPACEEVENT = Buffer.from('__subkeyspaceevent@');

const startsWith = (channel: Buffer, prefix: Buffer): boolean =>
  channel.subarray(0, prefix.length).equals(prefix);
