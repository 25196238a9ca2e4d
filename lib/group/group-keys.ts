/** The names of one partition's keys. They share a hash tag: on a Cluster they live on one node. */
export interface GroupKeys {
  /** ZSET: when to look at which key. */
  readonly index: string;
  /** Stream: expiries to handle. */
  readonly events: string;
  /** ZSET: what is to be tried again, and when. */
  readonly retry: string;
  /** ZSET: what waits for the grace of its handler, and until when. */
  readonly grace: string;
  /** ZSET: keys that ran out within the longest grace, by when that was detected. */
  readonly ended: string;
  /** ZSET: which of these expiries were followed by a return of the key, by when that was: see `returnName`. */
  readonly back: string;
  /** Stream: what was given up. */
  readonly dead: string;
  /** How many dead letters were deleted because of their limits. */
  readonly dropped: string;
  /** Hash: of each event that is being handled, how often each handler began to run for it. */
  readonly runs: string;
  /** Who watches the deadlines. */
  readonly lease: string;
  /** Until when they were watched without a gap. */
  readonly watched: string;
  /** The newest request to settle keys, and its answer: see `RequestChannel`. */
  readonly request: string;
  /** ZSET: what became of keys by whoever armed or cancelled them, by the deadline. */
  readonly settled: string;
  /** ZSET: entries of the index whose keys another node serves, until that node's partition has them. */
  readonly away: string;
  /** ZSET: keys that fired, by a moment before the deadline that was told; or by when they fired or were found gone without an entry. */
  readonly told: string;
  /** How the names of the keys of warnings begin: see `warningKeys`. */
  readonly warnings: string;
  /** ZSET: for which `before` there may be warnings. */
  readonly befores: string;
  /** Never written: what a server can do is tried out on it. */
  readonly probe: string;
}

/** The names of what a group keeps once, beside its home partition. */
export interface HomeKeys {
  /** ZSET: the instances that live, and the number of the list of handlers that each has. */
  readonly instances: string;
  /** ZSET: lists of handlers, by number. */
  readonly handlers: string;
  /** The numbers of the lists whose patterns are listened for. */
  readonly listened: string;
  /** ZSET: the hash tags of the partitions in use beside the home partition, by their numbers. */
  readonly partitions: string;
}

/**
 * The keys of a partition. The number is beside the tag, too: the group `a:1` is another one than `a`, and
 * the home partition of the one has the tag of the other's first partition.
 *
 * @param ownPrefix what every key of the module begins with
 * @param tag the partition's hash tag; that of the home partition is the group's name
 * @param number the partition's number; 0 for the home partition
 */
export function groupKeys(
  ownPrefix: string,
  tag: string,
  number = 0,
): GroupKeys {
  const prefix = `${ownPrefix}{${tag}}:${number === 0 ? '' : `${number}:`}`;
  const of = (part: string): string => `${prefix}${part}`;
  return {
    index: of('index'),
    events: of('events'),
    retry: of('retry'),
    grace: of('grace'),
    ended: of('ended'),
    back: of('back'),
    dead: of('dead'),
    dropped: of('dropped'),
    runs: of('runs'),
    lease: of('lease'),
    watched: of('watched'),
    request: of('request'),
    settled: of('settled'),
    away: of('away'),
    told: of('told'),
    warnings: of('warn'),
    befores: of('befores'),
    probe: of('probe'),
  };
}

/** The names of what a partition keeps for the warnings of one `before`. */
export interface WarningKeys {
  /** ZSET: when to look at keys that had more than `before` left when they were seen last. */
  readonly ahead: string;
  /** ZSET: keys that were warned of, by the deadline that was told. */
  readonly within: string;
  /** ZSET: entries of `ahead` whose keys another node serves, until that node's partition has them. */
  readonly away: string;
}

/** The keys of the warnings of one `before`. `warnings`: as of `GroupKeys`. */
export function warningKeys(warnings: string, before: number): WarningKeys {
  const of = (part: string): string => `${warnings}:${before}:${part}`;
  return { ahead: of('ahead'), within: of('within'), away: of('away') };
}

/** The keys that a group has once. */
export function homeKeys(ownPrefix: string, group: string): HomeKeys {
  const of = (part: string): string => `${ownPrefix}{${group}}:${part}`;
  return {
    instances: of('instances'),
    handlers: of('handlers'),
    listened: of('listened'),
    partitions: of('partitions'),
  };
}
