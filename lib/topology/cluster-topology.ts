import { randomUUID } from 'node:crypto';
import type { Cluster, NatMap } from 'ioredis';
import { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { isHopeless, redirectOf } from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { existInCluster } from './cluster-exists.js';
import { ClusterFollowers } from './cluster-followers.js';
import { ClusterScout } from './cluster-scout.js';
import { ClusterSeeds } from './cluster-seeds.js';
import {
  type ClusterView,
  NO_VIEW,
  isOutdated,
  mapped,
  movesBetween,
} from './cluster-view.js';
import { slotOf } from './hash-slot.js';
import { KeyCheck } from './key-check.js';
import type { RedisNode } from './redis-node.js';
import { Signal } from '../util/signal.js';
import type { Moves, Redirection, Topology } from './topology.js';

/** Ms for which a primary that left is still listened to: keys that it kept expire there. */
const GRACE = 60_000;
/** Ms after which a primary without slots is believed to be one. */
const SETTLING = 500;
/** Ms after which nodes are believed that tell of an older state than before. */
const INSISTING = 5_000;
/** Names that are tried until one lives on a node. */
const TRIES = 200_000;

/**
 * Every primary of a Cluster: each announces the expiries of its own slots and no others.
 *
 * States: new → `start` → following → `close`.
 *
 * Guarantees: a change that the Cluster knows of is seen within about a second, and sooner in doubt;
 * a primary that left is kept for a while, unless it is a replica now or cannot be reached.
 */
export class ClusterTopology implements Topology {
  readonly keys: KeyCheck;
  readonly #seeds: ClusterSeeds;
  readonly #scout: ClusterScout;
  readonly #followers: ClusterFollowers;
  readonly #nodes = new Map<string, RedisNode>();
  /** Nodes that left, and when. */
  readonly #left = new Map<string, number>();
  /** Primaries without slots that are not nodes yet, and when they were first seen. */
  readonly #newcomers = new Map<string, number>();
  #replicas = new Map<string, RedisNode>();
  readonly #callbacks = new Set<(moves: Moves) => void>();
  readonly #found = new Signal();
  #view = NO_VIEW;
  /** Since when no node told but what was overtaken. */
  #outdatedSince: number | undefined;
  /** When the view was asked for, in epoch ms. */
  #viewedAt: number | undefined;
  readonly #natMap: NatMap | undefined;
  #started = false;
  #closed = false;

  constructor(
    private readonly target: ConnectionTarget,
    name: string,
    private readonly log: Log,
  ) {
    this.#seeds = new ClusterSeeds(target, name);
    this.#natMap = (target.template() as Cluster).options.natMap;
    this.#scout = new ClusterScout({
      target,
      seeds: this.#seeds,
      natMap: this.#natMap,
      witnesses: () => this.nodes,
      connect: (address) => this.#connect(address),
      onView: (view, askedAt) => this.#take(view, askedAt),
      onSilence: () => this.#found.fire(),
      log,
    });
    this.#followers = new ClusterFollowers({
      target,
      seeds: this.#seeds,
      ownerOf: (slot) => this.#view.owners[slot] ?? this.nodes[0]?.address,
      onDoubt: () => this.doubt(),
      log,
    });
    this.keys = new KeyCheck(
      (keys, onDenied) => this.#alive(keys, onDenied),
      log,
      (key) => this.nodeOf(key)?.address ?? '',
    );
  }

  get nodes(): readonly RedisNode[] {
    return [...this.#nodes.values()];
  }

  get replicas(): readonly RedisNode[] {
    return [...this.#replicas.values()];
  }

  get lastError(): string | undefined {
    return this.#seeds.lastError ?? this.#scout.lastError;
  }

  nodeOf(redisKey: Buffer): RedisNode | undefined {
    const owner = this.#view.owners[slotOf(redisKey)];
    return owner === undefined ? undefined : this.#nodes.get(owner);
  }

  redirect(answer: Error): Redirection | undefined {
    const { endpoint, asking } = redirectOf(answer) ?? {};
    const node = this.#nodes.get(mapped(endpoint ?? '', this.#natMap));
    if (!node || !asking) this.doubt();
    return node && { node, asking: asking === true };
  }

  async start(): Promise<void> {
    if (!this.#started) {
      this.#started = true;
      this.#scout.run().catch((error: unknown) => {
        this.log.error(`Following the Cluster failed: ${reasonOf(error)}`);
      });
    }
    while (this.#nodes.size === 0 && !this.#closed) {
      await this.#found.next();
      const { lastError } = this;
      if (this.#nodes.size === 0 && lastError && isHopeless(lastError))
        throw new RedisExpiryError(
          'CONNECT_FAILED',
          `The start-up nodes do not tell of a Cluster: ${lastError}. Check the option "connection"`,
        );
    }
  }

  onChange(callback: (moves: Moves) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  doubt(): void {
    this.#scout.doubt();
  }

  openCommands(key: string): CommandClient {
    return this.#followers.open(key);
  }

  close(): void {
    this.#closed = true;
    this.#found.fire();
    this.#scout.close();
    this.#seeds.close();
    this.#followers.close();
    for (const { commands } of [...this.nodes, ...this.replicas])
      commands.close();
  }

  #take(view: ClusterView, askedAt: number): void {
    if (isOutdated(view, this.#view) && !this.#insists()) return;
    this.#outdatedSince = undefined;
    const altered = view.owners.some(
      (o, slot) => o !== this.#view.owners[slot],
    );
    const moves = movesBetween(this.#view, view);
    this.#view = view;
    const changed = this.#takePrimaries(view);
    const prepared = this.#takeReplicas(view.replicas);
    this.#viewedAt = askedAt;
    this.#followers.follow(view.owners);
    this.#found.fire();
    if (changed || prepared || altered)
      for (const callback of this.#callbacks) callback(moves);
  }

  #takePrimaries({
    primaries,
    replicas,
    failed,
    owners,
  }: ClusterView): boolean {
    let changed = false;
    const serving = new Set(owners);
    for (const address of primaries) {
      this.#left.delete(address);
      if (this.#nodes.has(address)) continue;
      if (!serving.has(address) && !this.#isSettled(address)) continue;
      this.#newcomers.delete(address);
      const since = this.#viewedAt;
      const node = this.#toNode(address);
      this.#nodes.set(address, since === undefined ? node : { ...node, since });
      changed = true;
    }
    const now = performance.now();
    for (const [address, { commands }] of this.#nodes) {
      if (primaries.has(address)) continue;
      const since = this.#left.get(address) ?? now;
      this.#left.set(address, since);
      // What hung and was replaced may awake: it knows nothing of what happened meanwhile.
      const replaced = replicas.has(address) || failed.has(address);
      const useful = !replaced && commands.connected;
      if (useful && now - since < GRACE) continue;
      commands.close();
      this.#nodes.delete(address);
      this.#left.delete(address);
      changed = true;
    }
    return changed;
  }

  /** Every node that answers tells what was overtaken, for long: the Cluster was made anew. */
  #insists(): boolean {
    const now = performance.now();
    this.#outdatedSince ??= now;
    if (now - this.#outdatedSince < INSISTING) return false;
    this.log.warn(
      'The Cluster tells of an older state than before: believed, as it goes on',
    );
    return true;
  }

  /** A primary without slots may be one that was just demoted, as a node tells it that does not know yet. */
  #isSettled(address: string): boolean {
    const now = performance.now();
    const since = this.#newcomers.get(address) ?? now;
    this.#newcomers.set(address, since);
    return now - since >= SETTLING;
  }

  /** Whether there are new ones. */
  #takeReplicas(addresses: ReadonlySet<string>): boolean {
    const before = this.#replicas;
    this.#replicas = new Map(
      [...addresses].map((a) => [a, before.get(a) ?? this.#toNode(a)]),
    );
    for (const [address, { commands }] of before)
      if (!addresses.has(address)) commands.close();
    return [...addresses].some((address) => !before.has(address));
  }

  #toNode(address: string): RedisNode {
    return {
      address,
      commands: this.#connect(address),
      noticedAfter: 0,
      openListener: () => this.#seeds.open(address),
      keyWith: (prefix) => this.#keyOn(address, prefix),
    };
  }

  #keyOn(address: string, prefix: string): string | undefined {
    const { owners } = this.#view;
    if (!owners.includes(address)) return undefined;
    const name = `${prefix}${randomUUID()}:`;
    for (let i = 0; i < TRIES; i++)
      if (owners[slotOf(name + i)] === address) return name + i;
    return undefined;
  }

  #connect(address: string): CommandClient {
    const { connectTimeout, retryDelay } = this.target;
    return new CommandClient({
      open: () => this.#seeds.open(address),
      connectTimeout,
      retryDelay,
      log: this.log,
    });
  }

  async #alive(
    keys: readonly Buffer[],
    onDenied: (error: unknown) => void,
  ): Promise<ReadonlySet<number>> {
    try {
      return await existInCluster(keys, {
        nodeOf: (key) => this.nodeOf(key) ?? this.nodes[0],
        redirect: (answer) => this.redirect(answer),
        onDenied,
      });
    } catch (error) {
      // A node that left closed its connection: others know of its keys now.
      const left = error instanceof RedisExpiryError && !this.#closed;
      throw left ? new Error('the node left', { cause: error }) : error;
    }
  }
}
