import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import type { RetryPolicy } from '../dispatch/expiry.js';
import type { LatenessWindow } from '../dispatch/lateness-window.js';
import type { Places } from '../dispatch/places.js';
import { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { DeadLetters } from './dead-letters.js';
import { Graces } from './graces.js';
import { homeKeys } from './group-keys.js';
import { HandlerRegistry } from './handler-registry.js';
import { LeaseShares } from './lease-shares.js';
import type { WatcherOptions } from './leader-term.js';
import { DroppedLetters, type LetterLimits } from './letter-limits.js';
import { OwnHandlers } from './own-handlers.js';
import { PartitionMap } from './partition-map.js';
import { PartitionRegistry } from './partition-registry.js';
import {
  type PartitionName,
  PartitionTags,
  partitionName,
} from './partition-tags.js';
import { Partition } from './partition.js';
import { type MemberParts, PartitionMember } from './partition-member.js';
import { PartitionMembers } from './partition-members.js';
import { RoutingReport } from './routing-report.js';
import { latenessOf } from './stored-event.js';
import type { Entry } from './stream-entry.js';
import { WriteRefusals } from './write-refusals.js';

/** Events that tell that a key's deadline came, changed or went. */
const HINTS = ['new', 'expire', 'del', 'rename_from', 'move_from', 'evicted'];

export interface GroupOptions extends WatcherOptions {
  readonly retry: RetryPolicy;
  readonly leaseDuration: number;
  readonly deadLetters: LetterLimits;
}

/** What the parts of the engine that a group shares with others. */
export interface SharedParts {
  readonly topology: Topology;
  readonly dispatcher: Dispatcher;
  /** The dispatcher's places, for all who read events. */
  readonly places: Places;
  readonly counters: ExpiryCounters;
  readonly lateness: LatenessWindow;
  readonly log: Log;
}

/** What one consumer group is made of in one instance. */
export interface GroupParts {
  readonly handlers: OwnHandlers;
  /** The patterns that whoever leads listens for. */
  readonly patterns: SubscriptionRegistry;
  /** What is kept once is kept beside this one. */
  readonly home: Partition;
  readonly members: PartitionMembers;
  /** Who has which handlers in the whole group. */
  readonly registry: HandlerRegistry;
  readonly letters: DeadLetters;
  readonly refusals: WriteRefusals;
}

/** Puts the parts of a group together. Nothing of them connects before it is used. */
export function groupParts(
  group: string,
  options: GroupOptions,
  shared: SharedParts,
): GroupParts {
  const { topology, dispatcher, places, counters, log } = shared;
  const { target, namespace, ownPrefix, retry, deadLetters } = options;
  const instance = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  const handlers = new OwnHandlers();
  const prefixLength = Buffer.byteLength(target.keyPrefix);
  const graces = new Graces(handlers, prefixLength);
  const refusals = new WriteRefusals(group, log);
  const patterns = new SubscriptionRegistry({
    ...target,
    ...{ namespace, hints: HINTS, wantedFlags: 'ng' },
  });
  const open = ({ tag, number }: PartitionName): Partition =>
    new Partition(tag, number, ownPrefix, topology, refusals);
  const home = open(partitionName(group, 0));
  const list = new PartitionRegistry(
    ...([home.commands, homeKeys(ownPrefix, group), group] as const),
  );
  // One server has one partition.
  const map = target.isCluster
    ? new PartitionMap(
        list,
        new PartitionTags(group, ownPrefix, topology),
        ...([topology, log] as const),
      )
    : undefined;
  const members = new PartitionMembers(
    ...([patterns, graces, map && { map, list }, log] as const),
  );
  const registry = new HandlerRegistry(
    home.commands,
    homeKeys(ownPrefix, group),
    instance,
    handlers,
    members,
    log,
  );
  const memberParts: MemberParts = {
    ...{ group, instance, options, topology, patterns, graces },
    ...{ places, counters, map, log },
    destinations: map && {
      redirect: (answer) => topology.redirect(answer),
      nodeOf: (key) => topology.nodeOf(key),
      indexOf: ({ address }) => members.indexOf(map.watchingAt(address)),
      tolds: () => members.partitions.map(({ keys }) => keys.told),
    },
    placeOf:
      map &&
      ((key) => {
        const node = topology.nodeOf(key);
        return node && members.find(map.watchingAt(node.address));
      }),
    shares: new LeaseShares(instance, () => registry.well),
    dropped: new DroppedLetters(group, deadLetters, log),
    context: {
      ...{ group, retry, dispatcher, handlers, registry },
      lastTries: new Mutex(),
      ...{ database: target.database, prefixLength },
      report: new RoutingReport(group, counters, log),
      onRun: (entry) => count(entry, shared),
    },
  };
  members.add(new PartitionMember(home, memberParts));
  members.make = (name) => new PartitionMember(open(name), memberParts);
  const letters = new DeadLetters(
    ...([() => members.partitions, group, target.keyPrefix] as const),
  );
  return { handlers, patterns, home, members, registry, letters, refusals };
}

function count(
  { event, runs }: Entry,
  { counters, lateness }: SharedParts,
): void {
  if (event.tries > 0 || !runs.isEmpty) counters.retried++;
  // It was counted when it began to wait.
  else if (event.waited !== undefined) return;
  else if (event.source === 'recovery') counters.recovered++;
  else if (event.deadline !== undefined) lateness.add(latenessOf(event));
}
