/** The two families of channels on which Redis announces what happens to keys. */
export type ChannelKind = 'keyspace' | 'keyevent';

/** `__keyspace@<db>__:<key>` carries the event's name; a glob may stand for the key. */
export const keyspaceChannel = (database: number, key: string): string =>
  `__keyspace@${database}__:${key}`;

/** `__keyevent@<db>__:<event>` carries the key. */
export const keyeventChannel = (database: number, event: string): string =>
  `__keyevent@${database}__:${event}`;

/** Whether SUBSCRIBE does for it. An ACL that grants `&__keyevent@0__:*` allows no PSUBSCRIBE but of that very text. */
export const isLiteralChannel = (channel: string): boolean =>
  !/[*?[\\]/.test(channel);

/** The key that a message is about: a keyspace channel names it, on other channels it is the message. */
export function keyOfMessage(channel: Buffer, message: Buffer): Buffer {
  if (!channel.subarray(0, 11).equals(KEYSPACE)) return message;
  return channel.subarray(channel.indexOf('__:') + 3);
}

const KEYSPACE = Buffer.from('__keyspace@');

const CLASS_OF_EVENT: Readonly<Record<string, string>> = {
  expired: 'x',
  evicted: 'e',
  new: 'n',
  keymiss: 'm',
  del: 'g',
  expire: 'g',
  persist: 'g',
  rename_from: 'g',
  rename_to: 'g',
  move_from: 'g',
  move_to: 'g',
  copy_to: 'g',
  restore: 'g',
  set: '$',
  setrange: '$',
  incrby: '$',
  incrbyfloat: '$',
  append: '$',
  hset: 'h',
  hdel: 'h',
  hincrby: 'h',
  hincrbyfloat: 'h',
  hexpire: 'h',
  hexpired: 'h',
  hpersist: 'h',
  lpush: 'l',
  rpush: 'l',
  lpop: 'l',
  rpop: 'l',
  linsert: 'l',
  lset: 'l',
  lrem: 'l',
  ltrim: 'l',
  sadd: 's',
  srem: 's',
  spop: 's',
  zadd: 'z',
  zincr: 'z',
  zrem: 'z',
  xadd: 't',
  xdel: 't',
  xtrim: 't',
};

/** The flags without which nothing comes on the channels that a pattern names. */
export interface ChannelNeeds {
  /** `K`, `E`, or both where the pattern may name either family. */
  readonly families: readonly ('K' | 'E')[];
  /** The letter of the event's class, where the pattern names an event that is known. */
  readonly eventClass?: string;
}

/** What a channel pattern needs; undefined when it names no keyspace or keyevent channel. */
export function needsOfChannel(channel: string): ChannelNeeds | undefined {
  const parsed = /^__key(space|event|[^@]*)@.*?__:(.*)$/s.exec(channel);
  if (!parsed) return undefined;
  if (parsed[1] === 'space') return { families: ['K'] };
  if (parsed[1] !== 'event') return { families: ['K', 'E'] };
  const eventClass = CLASS_OF_EVENT[parsed[2]!];
  return eventClass ? { families: ['E'], eventClass } : { families: ['E'] };
}
