import type { Commands } from '../connection/commands.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { PunctualOptions } from '../deadlines/discovery.js';
import type { ValueOptions } from '../deadlines/value-reader.js';
import type { NodeWatch } from '../deadlines/node-watch.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { KeyspaceListener } from '../listening/keyspace-listener.js';
import type { ListenerOptions } from '../listening/node-status.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { Drain } from './drain.js';
import type { Fate } from './forwarding-term.js';
import type { Graces } from './graces.js';
import type { GroupKeys } from './group-keys.js';
import { GroupNode } from './group-node.js';
import type { Destinations } from './key-finder.js';
import type { NodeTerm } from './node-term.js';
import { type DrainedState, OnlyNode } from './only-node.js';
import type { Partition } from './partition.js';
import { RedisIndex } from './redis-index.js';
import { TermFence } from './term-fence.js';

export interface WatcherOptions extends ListenerOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly punctual: PunctualOptions;
  readonly values: ValueOptions;
}

/** What all terms of one group have in common in one instance. */
export interface TermParts {
  readonly options: WatcherOptions;
  /** The patterns of the group's handlers. */
  readonly patterns: SubscriptionRegistry;
  readonly graces: Graces;
  readonly counters: ExpiryCounters;
  readonly topology: Topology;
  /** On a Cluster: where the entries of keys go that are elsewhere. */
  readonly destinations: Destinations | undefined;
  readonly log: Log;
}

/**
 * One term of leadership of a partition, from taking the lease to losing it or giving it back: listens to the node
 * that serves the partition, and has its keys looked at when they are due. Where another partition watches that node,
 * it listens to none, and hands on what it has. Whoever holds the lease makes it.
 *
 * The term owns its fencing token and its node, and they end with it: nothing of it is used by the next one.
 *
 * States: new → `start` → leading → `close`. Leading, the node may become another one: the partition's slot has moved,
 * or a replica was promoted.
 *
 * Guarantees: `watchedUntil` never passes a deadline that is not settled, so whatever happens to this
 * process, the next holder of the lease knows what to look into.
 */
export class LeaderTerm implements NodeTerm {
  readonly listener: KeyspaceListener;
  readonly keys: GroupKeys;
  readonly index: RedisIndex;
  readonly registry: SubscriptionRegistry;
  readonly punctual: PunctualOptions;
  readonly values: ValueOptions;
  readonly graces: Graces;
  readonly counters: ExpiryCounters;
  readonly destinations: Destinations | undefined;
  readonly log: Log;
  readonly #fence: TermFence;
  readonly #only: OnlyNode;
  readonly #drain: Drain | undefined;
  #unfollow: (() => void) | undefined;
  /** The addresses of all primaries, before the newest change. */
  #primaries: ReadonlySet<string> = new Set();
  /** The one that is watched, or was last. */
  #node: GroupNode | undefined;

  /**
   * @param token the lease's fencing token: no other term, of any instance, has the same
   * @param watched until when the keys were watched before, in epoch ms by Redis's clock (the low
   *   watermark); undefined for a new group, which knows no key that it could have missed
   */
  constructor(
    private readonly partition: Partition,
    readonly token: string,
    private readonly watched: number | undefined,
    parts: TermParts,
    drained?: DrainedState,
  ) {
    const { options, patterns, graces, counters } = parts;
    const { topology, destinations, log } = parts;
    this.keys = partition.keys;
    this.registry = patterns;
    this.punctual = options.punctual;
    this.values = options.values;
    this.graces = graces;
    this.counters = counters;
    this.destinations = destinations;
    this.log = log;
    this.#fence = new TermFence(token);
    const commands = this.#fence.commands(partition.commands);
    this.index = new RedisIndex(commands, partition.keys, (entries) =>
      this.#node?.returns.seen(entries),
    );
    const key = Buffer.from(partition.keys.index);
    this.#only = new OnlyNode(topology, key, drained);
    this.#drain =
      destinations &&
      new Drain(this, this.#only, destinations, (entry) => this.#fateOf(entry));
    this.listener = new KeyspaceListener(
      this.#only,
      patterns,
      { ...options, doesWithoutHearing: true },
      log,
      (node, since) => this.#observe(node, since),
    );
  }

  /** Whether another partition watches the node that serves this one. */
  get isDrained(): boolean {
    return this.#only.isDrained;
  }

  /** Whether there is a node that it is to listen to. */
  get hasNode(): boolean {
    return this.#only.nodes.length > 0;
  }

  start(): void {
    this.#drain?.start();
    this.listener.start().catch((error: unknown) => {
      this.log.error(`Watching failed: ${reasonOf(error)}`);
    });
    // After the listener, which asks what was known before.
    this.#unfollow = this.#only.onChange(() => this.#noteNodes());
    this.#noteNodes();
  }

  /** Epoch ms by Redis's clock before which every deadline is settled. */
  watchedUntil(): number | undefined {
    return this.#node ? this.#node.watchedUntil : this.watched;
  }

  close(): void {
    this.#fence.end();
    this.#drain?.stop();
    this.#unfollow?.();
    this.listener.close();
    this.#node?.close();
  }

  nextRequest(): number {
    return this.#fence.nextRequest();
  }

  commands(connection: Commands): Commands {
    return this.#fence.commands(this.partition.watch(connection));
  }

  barrier({ address }: RedisNode): Promise<void> {
    return this.listener.barrier(address);
  }

  /** What became of a key whose deadline has passed, and which nobody settles here any more. */
  #fateOf({ key, at }: DeadlineEntry): Fate {
    if (this.#node) return this.#node.fateOf(key, at);
    const isMissed = this.watched !== undefined && at >= this.watched;
    return isMissed ? 'missed' : 'unknown';
  }

  #noteNodes(): void {
    this.#primaries = new Set(this.#only.primaries);
  }

  /** `since`: it was found late, and served keys unheard from then on, in epoch ms. */
  #observe(node: RedisNode, since: number | undefined): NodeWatch {
    const former = this.#node;
    former?.close();
    // A partition that is new on a Cluster is brought entries of keys that nobody watched there.
    let watched = this.watchedUntil() ?? (this.destinations ? 0 : undefined);
    // A primary that was there beside the former node is the partition's since the slot moved, and not since it was found.
    if (since !== undefined && !this.#primaries.has(node.address))
      watched = Math.min(since, watched ?? since);
    this.#node = new GroupNode(node, this, watched);
    if (former) this.#node.succeed(former);
    return this.#node.watch;
  }
}
