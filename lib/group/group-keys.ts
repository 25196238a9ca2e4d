/** The names of one group's keys. They share a hash tag: in a Cluster they live on one node. */
export interface GroupKeys {
  /** ZSET: when to look at which key. */
  readonly index: string;
  /** Stream: expiries to handle. */
  readonly events: string;
  /** ZSET: what is to be tried again, and when. */
  readonly retry: string;
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
  /** ZSET: the instances that live, and the number of the list of handlers that each has. */
  readonly instances: string;
  /** ZSET: lists of handlers, by number. */
  readonly handlers: string;
  /** The numbers of the lists whose patterns are listened for. */
  readonly listened: string;
  /** The newest request to apply what looks had found, and of what it was applied. */
  readonly settled: string;
  /** The newest request that looked at keys and settled them in one step, and what it found. */
  readonly swept: string;
  /** Never written: what a server can do is tried out on it. */
  readonly probe: string;
}

export function groupKeys(ownPrefix: string, group: string): GroupKeys {
  const of = (part: string): string => `${ownPrefix}{${group}}:${part}`;
  return {
    index: of('index'),
    events: of('events'),
    retry: of('retry'),
    dead: of('dead'),
    dropped: of('dropped'),
    runs: of('runs'),
    lease: of('lease'),
    watched: of('watched'),
    instances: of('instances'),
    handlers: of('handlers'),
    listened: of('listened'),
    settled: of('settled'),
    swept: of('swept'),
    probe: of('probe'),
  };
}
