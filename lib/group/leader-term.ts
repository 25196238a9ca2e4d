import type { Commands } from '../connection/commands.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { PunctualOptions } from '../deadlines/discovery.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import { DueLoop } from '../deadlines/due-loop.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import { KeyspaceListener } from '../listening/keyspace-listener.js';
import type { ListenerOptions } from '../listening/node-status.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { DueEntries } from './due-entries.js';
import type { GroupKeys } from './group-keys.js';
import { GroupNode } from './group-node.js';
import type { ClusterTerm, NodeTerm, Whereabouts } from './node-term.js';
import { NodesByAddress } from './nodes-by-address.js';
import type { Partition } from './partition.js';
import { Preview } from './preview.js';
import { RedisIndex } from './redis-index.js';
import { Settling } from './settling.js';
import { TermFence } from './term-fence.js';

export interface WatcherOptions extends ListenerOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly punctual: PunctualOptions;
}

/** What all terms of one group have in common in one instance. */
export interface TermParts {
  readonly options: WatcherOptions;
  /** The patterns of the group's handlers. */
  readonly patterns: SubscriptionRegistry;
  readonly counters: ExpiryCounters;
  readonly log: Log;
}

/**
 * One term of leadership, from taking the lease to losing it or giving it back: listens to every node,
 * and has each key looked at when it is due, by the node that serves it. A node that is not listened to
 * holds up its own keys and no others. Whoever holds the lease makes it.
 *
 * The term owns its fencing token, its clock and its nodes, and they end with it: nothing of it is used
 * by the next one.
 *
 * States: new → `start` → leading, in which each node is either listened to or in a gap → `close`.
 *
 * Guarantees: `watchedUntil` never passes a deadline that is not settled, so whatever happens to this
 * process, the next holder of the lease knows what to look into.
 */
export class LeaderTerm implements NodeTerm, ClusterTerm {
  readonly listener: KeyspaceListener;
  readonly clock = new RedisClock();
  readonly keys: GroupKeys;
  readonly index: RedisIndex;
  readonly settling: Settling;
  readonly registry: SubscriptionRegistry;
  readonly punctual: PunctualOptions;
  readonly counters: ExpiryCounters;
  readonly cluster: ClusterTerm | undefined;
  readonly log: Log;
  readonly #fence: TermFence;
  readonly #nodes = new NodesByAddress<GroupNode>();
  readonly #due: DueEntries;
  readonly #loop: DueLoop;
  readonly #preview: Preview;
  #unfollow: (() => void) | undefined;

  /**
   * @param token the lease's fencing token: no other term, of any instance, has the same
   * @param watched until when the keys were watched before, in epoch ms by Redis's clock (the low
   *   watermark); undefined for a new group, which knows no key that it could have missed
   */
  constructor(
    private readonly partition: Partition,
    readonly token: string,
    private readonly watched: number | undefined,
    private readonly topology: Topology,
    { options, patterns, counters, log }: TermParts,
  ) {
    this.keys = partition.keys;
    this.registry = patterns;
    this.punctual = options.punctual;
    this.counters = counters;
    this.cluster = options.target.isCluster ? this : undefined;
    this.log = log;
    this.#fence = new TermFence(token);
    this.index = new RedisIndex(
      this.#fence.commands(partition.commands),
      ...([partition.keys, this.#fence] as const),
    );
    this.settling = new Settling(this.index);
    this.clock.onStep = (ms) => this.#clockStepped(ms);
    this.#due = new DueEntries(this.index, {
      nodeOf: (key) => this.#nodeOf(key),
      alone: !this.cluster,
      onReturn: () => this.#loop.nudge(0),
      onError: (error) => this.report(error),
    });
    this.#loop = new DueLoop({
      index: this.#due,
      clock: this.clock,
      readTime: () => this.index.readTime(this.clock),
      look: (due) => this.#due.judge(due),
      onIdle: (before) => {
        for (const node of this.#nodes.values())
          if (this.#due.isIdle(node)) node.gaps.settle(before);
      },
      onError: (error) => this.report(error),
    });
    this.#preview = new Preview(this);
    this.listener = new KeyspaceListener(
      topology,
      patterns,
      { ...options, doesWithoutHearing: true },
      log,
      (node, since) => this.#observe(node, since),
    );
  }

  start(): void {
    this.#unfollow = this.topology.onChange(() => this.nodeChanged());
    this.listener.start().catch((error: unknown) => {
      this.log.error(`Watching failed: ${reasonOf(error)}`);
    });
  }

  /** Epoch ms by Redis's clock before which every deadline is settled. */
  watchedUntil(): number | undefined {
    let until = this.settledBefore;
    for (const { closed, lostUntil } of this.#nodes.values())
      if (!closed && lostUntil !== undefined)
        until = Math.min(until ?? lostUntil, lostUntil);
    return until;
  }

  close(): void {
    this.#fence.end();
    this.#unfollow?.();
    this.listener.close();
    for (const node of this.#nodes.values()) node.close();
    this.#loop.pause();
    this.#preview.pause();
  }

  get settledBefore(): number | undefined {
    const until = this.#loop.settledBefore ?? this.watched;
    const held = this.#due.heldUp;
    return until === undefined ? until : Math.min(until, held ?? until);
  }

  get previewedAfter(): number | undefined {
    return this.#preview.coversAfter;
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

  due(soonest: number): void {
    this.#due.brought(soonest);
    this.#loop.nudge(soonest);
    this.#preview.nudge(soonest);
  }

  nodeChanged(): void {
    const watched = [...this.#nodes.values()].filter((node) => node.watched);
    if (watched.some((node) => node.isSilent)) this.#preview.resume();
    else this.#preview.pause();
    if (watched.length === 0) {
      this.#loop.pause();
      return;
    }
    this.#due.restart();
    this.#loop.resume();
    this.#loop.nudge(0);
  }

  /** For `Preview`: looks at keys that are about to be due, of nodes that announce nothing. */
  async lookAhead(entries: readonly DeadlineEntry[]): Promise<void> {
    const silent = (key: Buffer): boolean => {
      const node = this.#nodeOf(key);
      return node?.watched === true && node.isSilent;
    };
    await this.#due.judge(entries.filter(({ key }) => silent(key)));
  }

  report(error: unknown): void {
    // Each node says once what its operator has to mend.
    const [node] = this.#nodes.values();
    node?.report(error);
  }

  serves({ address }: RedisNode, key: Buffer): boolean {
    return this.topology.nodeOf(key)?.address === address;
  }

  watchedAt(addresses: ReadonlySet<string>): GroupNode[] {
    return [...addresses].flatMap((address) => this.#nodes.get(address) ?? []);
  }

  isExpected(node: unknown, key: Buffer): boolean {
    if (this.#nodes.size === 1) return false;
    for (const other of this.#nodes.values())
      if (other !== node && other.expects(key)) return true;
    return false;
  }

  redirect(answer: Error): Whereabouts | undefined {
    const there = this.topology.redirect(answer);
    const node = there && this.#nodes.get(there.node.address);
    return node && { node, asking: there.asking };
  }

  /** `since`: it was found late, and served keys unheard from then on, in epoch ms. */
  #observe(node: RedisNode, since: number | undefined): GroupNode {
    const watched =
      since === undefined
        ? this.watched
        : Math.min(
            this.clock.known ? this.clock.now() - (Date.now() - since) : since,
            this.settledBefore ?? Infinity,
          );
    const watchedNode = new GroupNode(node, this, watched);
    // It was here before: what was missed then is not known yet.
    const former = this.#nodes.get(node.address);
    if (former) watchedNode.succeed(former);
    this.#nodes.set(node.address, watchedNode);
    return watchedNode;
  }

  #nodeOf(key: Buffer): GroupNode | undefined {
    const node = this.topology.nodeOf(key);
    return node && this.#nodes.get(node.address);
  }

  #clockStepped(ms: number): void {
    for (const node of this.#nodes.values()) node.clockStepped(ms);
    this.#loop.retime();
    this.#preview.retime(ms);
  }
}
