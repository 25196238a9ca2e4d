import { RedisGlob } from '../dispatch/redis-glob.js';

/**
 * The events of Redis 6.2 to 8.8 and of Valkey 7.2 to 9, by the letter of the class that
 * `notify-keyspace-events` names. Events of modules, such as `json.set`, have a dot and are of class `d`.
 * In Valkey `hexpired` is of class `x`, which the module has on in any case.
 */
const EVENTS_OF_CLASS: Readonly<Record<string, string>> = {
  g: 'del expire persist rename_from rename_to move_from move_to copy_to restore',
  $: 'set setrange append incrby incrbyfloat setbit pfadd',
  l: 'lpush rpush lpop rpop linsert lset lrem ltrim sortstore',
  s: 'sadd srem spop sinterstore sunionstore sdiffstore',
  h: 'hset hdel hincrby hincrbyfloat hexpire hexpired hpersist',
  z:
    'zadd zincr zrem zpopmin zpopmax zremrangebyrank zremrangebyscore zremrangebylex ' +
    'zunionstore zinterstore zdiffstore zrangestore georadiusstore geosearchstore',
  t:
    'xadd xdel xtrim xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer ' +
    'xgroup-destroy xgroup-setid',
  x: 'expired',
  e: 'evicted',
  n: 'new',
  m: 'keymiss',
  o: 'overwritten',
  c: 'type_changed',
  a: 'arset armset ardel ardelrange arinsert arring',
};

const CLASS_OF_EVENT: ReadonlyMap<string, string> = new Map(
  Object.entries(EVENTS_OF_CLASS).flatMap(([letter, events]) =>
    events.split(' ').map((event): [string, string] => [event, letter]),
  ),
);

/** Classes that some servers do not know, or that `A` does not stand for. */
const NOT_EVERYWHERE = 'nmocad';

/** Classes whose events may tell of parts of a value: of hashes, and in time of arrays and of modules' values. */
const WITH_FIELDS = 'had';

/** A family of channels: how its names begin, the letter that switches it on, and what follows the database. */
interface Family {
  readonly prefix: string;
  readonly letter: string;
  readonly names: 'key' | 'event' | 'event and key';
  /** It tells of what happens to fields of hashes: since Redis 8.8. */
  readonly ofFields?: true;
}

const FAMILIES: readonly Family[] = [
  { prefix: '__keyspace@', letter: 'K', names: 'key' },
  { prefix: '__keyevent@', letter: 'E', names: 'event' },
  { prefix: '__subkeyspace@', letter: 'S', names: 'key', ofFields: true },
  { prefix: '__subkeyevent@', letter: 'T', names: 'event', ofFields: true },
  { prefix: '__subkeyspaceitem@', letter: 'I', names: 'key', ofFields: true },
  {
    prefix: '__subkeyspaceevent@',
    letter: 'V',
    names: 'event and key',
    ofFields: true,
  },
];

/** The flags without which nothing comes on the channels that a pattern names. */
export interface ChannelNeeds {
  /** The letters of families, and of the classes of events that are named. */
  readonly letters: string;
  /** Letters of classes that a glob for the event may mean, and that not every server knows. */
  readonly wanted: string;
  /** What the pattern leaves open, in words: flags that it needs may be off. */
  readonly unknown?: string;
}

/**
 * What a channel pattern needs; undefined when it names no channel of notifications. A glob in the
 * place of the event asks for the classes of all events that it can match. A channel that names a
 * key tells of every event of that key: which of them are wanted is not known, and none is asked for.
 */
export function needsOfChannel(channel: string): ChannelNeeds | undefined {
  const head = /^[^*?[\\]*/.exec(channel)![0];
  const families = FAMILIES.filter(
    ({ prefix }) => prefix.startsWith(head) || head.startsWith(prefix),
  );
  if (families.length === 0 || head === '') return undefined;
  if (!/^__(sub)?key/.test(head))
    return {
      letters: '',
      wanted: '',
      unknown: 'the family of channels that it names',
    };
  const letters = new Set(families.map(({ letter }) => letter));
  if (families.some(({ ofFields }) => ofFields)) letters.add('h');
  const { classes, unknown } = classesOf(channel, families);
  const isGlob = classes.length > 1;
  const wanted = classes.filter((c) => isGlob && NOT_EVERYWHERE.includes(c));
  for (const letter of classes)
    if (!wanted.includes(letter)) letters.add(letter);
  return {
    letters: [...letters].join(''),
    wanted: wanted.join(''),
    ...(unknown !== undefined && { unknown }),
  };
}

function classesOf(
  channel: string,
  families: readonly Family[],
): { classes: string[]; unknown?: string } {
  const kinds = new Set(families.map(({ names }) => names));
  if (!kinds.has('event') && !kinds.has('event and key'))
    return { classes: [] };
  // Where a glob covers the end of the channel's beginning, any event may follow.
  const rest = /@.*?__:(.*)$/s.exec(channel)?.[1] ?? '*';
  const event = kinds.has('event and key') ? rest.replace(/\|.*$/s, '') : rest;
  const ofFields = families.every((family) => family.ofFields);
  const classes = classesOfEvent(event).filter(
    (letter) => !ofFields || WITH_FIELDS.includes(letter),
  );
  // It may as well be a key where keyspace channels are meant too.
  if (classes.length > 0 || kinds.has('key')) return { classes };
  return {
    classes,
    unknown: `the class of the event ${JSON.stringify(event)}`,
  };
}

/** The classes of an event, or of all events that a glob matches. */
function classesOfEvent(event: string): string[] {
  const known = CLASS_OF_EVENT.get(event);
  if (known !== undefined) return [known];
  const glob = new RedisGlob(event);
  const classes = new Set<string>();
  for (const [name, letter] of CLASS_OF_EVENT)
    if (glob.test(Buffer.from(name))) classes.add(letter);
  if (event.includes('.') || event === '*') classes.add('d');
  return [...classes];
}
