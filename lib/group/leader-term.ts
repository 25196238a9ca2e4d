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
import { NodesByAddress } from './nodes-by-address.js';
import { Preview } from './preview.js';
import type { RedisIndex } from './redis-index.js';
import { Settling } from './settling.js';
import type { Term } from './term.js';
import { GroupNode, type GroupNodeParts } from './group-node.js';

export interface WatcherOptions extends ListenerOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly punctual: PunctualOptions;
}

/**
 * What the leader does in one term: listens to every node, and has each key looked at when it is due,
 * by the node that serves it. A node that is not listened to holds up its own keys and no others.
 *
 * It is made for the term and ends with it: nothing of it is used by the next one.
 */
export class LeaderTerm {
  readonly listener: KeyspaceListener;
  readonly #nodes = new NodesByAddress<GroupNode>();
  readonly #clock = new RedisClock();
  readonly #due: DueEntries;
  readonly #watch: DueLoop;
  readonly #preview: Preview;
  readonly #parts: GroupNodeParts;
  #unfollow: (() => void) | undefined;

  constructor(
    private readonly term: Term,
    private readonly topology: Topology,
    registry: SubscriptionRegistry,
    index: RedisIndex,
    options: WatcherOptions,
    counters: ExpiryCounters,
    private readonly watched: number | undefined,
    private readonly log: Log,
  ) {
    const clock = this.#clock;
    clock.onStep = (ms) => {
      for (const node of this.#nodes.values()) node.clockStepped(ms);
      this.#watch.retime();
      this.#preview.retime(ms);
    };
    const readTime = (): Promise<void> => index.readTime(clock);
    const onError = (error: unknown): void => this.#report(error);
    this.#due = new DueEntries(index, {
      nodeOf: (key) => this.#nodeOf(key),
      alone: !options.target.isCluster,
      onReturn: () => this.#watch.nudge(0),
      onError,
    });
    this.#watch = new DueLoop({
      index: this.#due,
      clock,
      readTime,
      look: (due) => this.#due.judge(due),
      onIdle: (before) => {
        for (const node of this.#nodes.values())
          if (this.#due.isIdle(node)) node.gaps.settle(before);
      },
      onError,
    });
    this.#preview = new Preview({
      index,
      clock,
      readTime,
      look: (entries) => this.#lookAhead(entries),
      onError,
    });
    this.#parts = {
      ...{ term, index },
      settling: new Settling(index),
      clock,
      registry,
      punctual: options.punctual,
      counters,
      cluster: options.target.isCluster ? { reference: clock } : undefined,
      redirect: (answer) => {
        const there = topology.redirect(answer);
        const node = there && this.#nodes.get(there.node.address);
        return node && { node, asking: there.asking };
      },
      barrier: ({ address }) => this.listener.barrier(address),
      serves: (node, key) => topology.nodeOf(key)?.address === node.address,
      settledBefore: () => this.#settledBefore(),
      predecessors: (addresses) =>
        [...addresses].flatMap((address) => this.#nodes.get(address) ?? []),
      isExpected: (node, key) => this.#isExpected(node, key),
      previewed: (at) => this.#preview.covers(at),
      onLater: (soonest) => {
        this.#due.brought(soonest);
        this.#watch.nudge(soonest);
        this.#preview.nudge(soonest);
      },
      onChange: () => this.#onChange(),
      log,
    };
    this.listener = new KeyspaceListener(
      topology,
      registry,
      { ...options, doesWithoutHearing: true },
      log,
      (node, since) => this.#observe(node, since),
    );
  }

  start(): void {
    this.#unfollow = this.topology.onChange(() => this.#onChange());
    this.listener.start().catch((error: unknown) => {
      this.log.error(`Watching failed: ${reasonOf(error)}`);
    });
  }

  /** Epoch ms by Redis's clock before which every deadline is settled. */
  watchedUntil(): number | undefined {
    let until = this.#settledBefore();
    for (const { closed, lostUntil } of this.#nodes.values())
      if (!closed && lostUntil !== undefined)
        until = Math.min(until ?? lostUntil, lostUntil);
    return until;
  }

  /** Every deadline before is settled, where nodes are watched. */
  #settledBefore(): number | undefined {
    const until = this.#watch.settledBefore ?? this.watched;
    const held = this.#due.heldUp;
    return until === undefined ? until : Math.min(until, held ?? until);
  }

  /** Ends the term. */
  close(): void {
    this.term.end();
    this.#unfollow?.();
    this.listener.close();
    for (const node of this.#nodes.values()) node.close();
    this.#watch.pause();
    this.#preview.pause();
  }

  /** `since`: it was found late, and served keys unheard from then on, in epoch ms. */
  #observe(node: RedisNode, since: number | undefined): GroupNode {
    const { settledBefore } = this.#parts;
    const watched =
      since === undefined
        ? this.watched
        : Math.min(
            this.#clock.known
              ? this.#clock.now() - (Date.now() - since)
              : since,
            settledBefore() ?? Infinity,
          );
    const watchedNode = new GroupNode(node, this.#parts, watched);
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

  #isExpected(node: GroupNode, key: Buffer): boolean {
    if (this.#nodes.size === 1) return false;
    for (const other of this.#nodes.values())
      if (other !== node && other.expects(key)) return true;
    return false;
  }

  /** Some node is watched or silent that was not, or the other way round. */
  #onChange(): void {
    const watched = [...this.#nodes.values()].filter((node) => node.watched);
    if (watched.some((node) => node.isSilent)) this.#preview.resume();
    else this.#preview.pause();
    if (watched.length === 0) {
      this.#watch.pause();
      return;
    }
    this.#due.restart();
    this.#watch.resume();
    this.#watch.nudge(0);
  }

  async #lookAhead(entries: readonly DeadlineEntry[]): Promise<void> {
    const silent = (key: Buffer): boolean => {
      const node = this.#nodeOf(key);
      return node?.watched === true && node.isSilent;
    };
    await this.#due.judge(entries.filter(({ key }) => silent(key)));
  }

  #report(error: unknown): void {
    // Each node says once what its operator has to mend.
    const [node] = this.#nodes.values();
    node?.report(error);
  }
}
