import { isHopeless, missingCommand } from '../connection/server-error.js';
import {
  RedisExpiryError,
  subscriptionRefused,
} from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { NodeListener } from './node-listener.js';
import type { ListenerOptions, NodeStatus } from './node-status.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import { unheardSince } from './gap.js';
import type { RedisNode } from '../topology/redis-node.js';
import { ReplicaPreparation } from './replica-preparation.js';
import { Signal } from '../util/signal.js';
import type { SubscriptionRegistry } from './subscription-registry.js';
import type { Interest } from './interests.js';
import type { Moves, Topology } from '../topology/topology.js';

/**
 * Listens on every node of the topology to whatever is subscribed to.
 *
 * States: new → `start` → listening, with nodes that come and go → `close`.
 *
 * Guarantees: `served` resolves once every node acknowledged; nodes that come later are given every
 * subscription; one that is refused keeps no other from being listened for.
 */
export class KeyspaceListener {
  readonly #listeners = new Map<string, NodeListener>();
  readonly #changed = new Signal();
  readonly #preparation: ReplicaPreparation;
  #unfollow: (() => void) | undefined;
  #closed = false;
  readonly #since = new Date();

  constructor(
    private readonly topology: Topology,
    private readonly registry: SubscriptionRegistry,
    private readonly options: ListenerOptions,
    private readonly log: Log,
    /** `since`: the node was found late, and may have served keys unheard since then, in epoch ms. */
    private readonly observe?: (
      node: RedisNode,
      since: number | undefined,
    ) => DeadlineKeeper,
  ) {
    this.#preparation = new ReplicaPreparation(
      topology,
      registry,
      options.notifications,
      log,
    );
  }

  get nodes(): NodeStatus[] {
    const { nodes, lastError } = this.topology;
    if (nodes.length === 0 && lastError)
      return [unknownNode(lastError, this.#since)];
    return [...this.#listeners.values()].map((listener) => listener.status);
  }

  /** What keeps nodes from being listened to, in words. */
  get reasons(): string[] {
    const { nodes, lastError } = this.topology;
    if (nodes.length === 0 && lastError) return [lastError];
    return this.nodes
      .filter(({ state }) => state !== 'listening' && state !== 'deaf')
      .map((node) => `${node.address}: ${node.lastError ?? node.state}`);
  }

  /** Begins to listen. Resolves when the nodes are known; `listening` tells when they are listened to. */
  async start(): Promise<void> {
    this.#unfollow ??= this.topology.onChange((moves) => this.#follow(moves));
    await this.topology.start();
    this.#follow();
    if (!this.#closed) this.#preparation.start();
  }

  /**
   * Resolves when every node is listened to, whatever it refuses to announce. Rejects where flags are
   * only verified, with `NOTIFICATIONS_MISSING`; with `CONNECT_FAILED` where no later try can help;
   * with `CLOSED`.
   */
  async listening(): Promise<void> {
    while (this.#listeners.size === 0 && !this.#closed)
      await this.#changed.next();
    for (const listener of this.#listeners.values()) {
      while (!this.#isReady(listener.status)) await listener.changed();
    }
    this.#assertOpen();
  }

  /**
   * As `listening`, every pattern that is subscribed to by now included, and every node's deadlines are
   * ready. Rejects with `SUBSCRIPTION_REFUSED` where something is refused.
   */
  async ready(): Promise<void> {
    await this.listening();
    for (const listener of this.#listeners.values()) {
      while (
        !this.#isReady(listener.status) ||
        !this.#servesAll(listener.status)
      )
        await listener.changed();
      await listener.ready();
    }
    this.#assertOpen();
  }

  /**
   * Resolves once every node acknowledged the subscription to a pattern that the registry wants.
   * Rejects with `SUBSCRIPTION_REFUSED`, or with `CLOSED`.
   */
  async served(pattern: string): Promise<void> {
    while (this.#listeners.size === 0 && !this.#closed)
      await this.#changed.next();
    await Promise.all(
      [...this.#listeners.values()].map(async (listener) => {
        await listener.refresh();
        try {
          await listener.whenServed(pattern);
        } catch (error) {
          // The node left meanwhile: it has nothing to say.
          const here = [...this.#listeners.values()].includes(listener);
          if (this.#closed || here) throw error;
        }
      }),
    );
    this.#assertOpen();
  }

  /** Takes up what the registry now wants. Never rejects. */
  async refresh(): Promise<void> {
    await Promise.all(
      [...this.#listeners.values()].map((listener) => listener.refresh()),
    );
  }

  /** Ends a subscription. Never rejects; resolves when Redis acknowledged, or the connection is gone. */
  async remove(interest: Interest): Promise<void> {
    this.registry.remove(interest);
    await this.refresh();
  }

  /** Resolves once all that a node announced before now has been heard. Rejects when it cannot be known. */
  async barrier(address: string): Promise<void> {
    const listener = this.#listeners.get(address);
    if (!listener) throw new Error(`${address} is not listened to`);
    await listener.barrier();
  }

  close(): void {
    this.#closed = true;
    this.#unfollow?.();
    this.#preparation.close();
    this.#changed.fire();
    for (const listener of this.#listeners.values()) listener.close();
  }

  /** Makes the listeners those of the topology's nodes, and tells those that serve more than before. */
  #follow(moves?: Moves): void {
    if (this.#closed) return;
    const nodes = new Map(this.topology.nodes.map((n) => [n.address, n]));
    const before = new Map(this.#listeners);
    for (const [address, listener] of before) {
      if (nodes.has(address)) continue;
      this.#listeners.delete(address);
      listener.close();
    }
    for (const listener of this.#listeners.values()) listener.retry();
    for (const [address, node] of nodes) {
      if (this.#listeners.has(address)) continue;
      const { registry, options, log } = this;
      const predecessors = [...(moves?.get(address) ?? [])].map(
        (other) => before.get(other)?.lostSince,
      );
      // A node that was there before this began to listen was not missed by it.
      const since = moves && unheardSince({ since: node.since, predecessors });
      const listener = new NodeListener(
        node,
        registry,
        options,
        log,
        this.observe?.(node, since),
        since,
        () => this.topology.doubt(),
      );
      this.#listeners.set(address, listener);
      listener.start();
    }
    for (const [to, from] of moves ?? [])
      this.#listeners.get(to)?.deadlines?.gained?.(from);
    this.#preparation.now();
    this.#changed.fire();
  }

  /** Whether every pattern is subscribed to, or the listener does without. Rejects with what is refused. */
  #servesAll(status: NodeStatus): boolean {
    const { address, state, patterns, refused } = status;
    const isNeedless = (reason: string): boolean =>
      this.options.doesWithoutHearing === true &&
      missingCommand(reason) !== undefined;
    const needed = refused.filter(({ reason }) => !isNeedless(reason));
    const [first] = needed;
    if (first)
      throw subscriptionRefused(
        address,
        first.pattern,
        first.reason,
        missingCommand(first.reason),
      );
    const settled = new Set([
      ...patterns,
      ...refused.map(({ pattern }) => pattern),
    ]);
    return (
      state === 'closed' ||
      this.registry.wanted().every(({ text }) => settled.has(text))
    );
  }

  #isReady(status: NodeStatus): boolean {
    const { address, state, lastError } = status;
    this.#assertOpen();
    const isUp = state === 'listening' || state === 'refused';
    if (
      this.options.notifications === 'verify' &&
      (state === 'deaf' || (isUp && !isVerified(status)))
    ) {
      throw new RedisExpiryError(
        'NOTIFICATIONS_MISSING',
        `${address} does not announce expiries as needed: notify-keyspace-events is ` +
          `${status.flags === undefined ? 'not readable' : JSON.stringify(status.flags)}, missing "${status.missingFlags ?? 'Kx or Ex'}", ` +
          `self-test ${status.selfTest}. Set the flags, or use notifications: 'ensure'.`,
      );
    }
    if (lastError !== undefined && isHopeless(lastError)) {
      throw new RedisExpiryError(
        'CONNECT_FAILED',
        `Redis at ${address} refuses the connection: ${lastError}`,
      );
    }
    return isUp || state === 'deaf' || state === 'closed';
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
  }
}

const isVerified = ({ missingFlags, selfTest }: NodeStatus): boolean =>
  missingFlags === undefined ? selfTest === 'passed' : missingFlags === '';

/** In the place of the nodes, while none is known. */
export const unknownNode = (lastError: string, since: Date): NodeStatus => ({
  address: '(no node is known yet)',
  state: 'connecting',
  since,
  patterns: [],
  refused: [],
  gaps: 0,
  lastError,
});
