import { randomUUID } from 'node:crypto';
import type { Cluster, NatMap, Redis } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { isHopeless, redirectOf } from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { type KeyQuestion, askInCluster } from './cluster-keys.js';
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
import { nameWhere, slotOf } from './hash-slot.js';
import { KeyCheck } from './key-check.js';
import { deadlineOf } from './key-deadlines.js';
import type { RedisNode } from './redis-node.js';
import { Signal } from '../util/signal.js';
import type { Moves, Redirection, Topology } from './topology.js';

/** Ms for which a primary that left the Cluster is still listened to, because keys that it kept expire there. */
const GRACE_MS = 60_000;
/** Ms after which a primary without slots is believed to be one. */
const SETTLING_MS = 500;
/** Ms after which nodes are believed that go on telling of an older state than before. */
const INSISTING_MS = 5_000;

/**
 * Every primary of a Cluster: each announces the expiries of its own slots and no others. The engine makes
 * one for a connection option that names a Cluster.
 *
 * States:
 * - *new* (at first): no node is known.
 * - *following* (after `start`): a `ClusterScout` asks the nodes who is who, and each answer makes the
 *   nodes, the replicas and the slots' owners what it says. What changed is told to `onChange`.
 * - *closed* (after `close`): nobody is asked, and every connection but the listeners' is closed.
 *
 * Guarantees: a change that the Cluster knows of is seen within about a second, and within 100 ms in
 * doubt. A primary that left is kept for a minute, unless it is a replica now or cannot be reached. A
 * primary without slots is taken for a node only once it has been one for half a second, because a
 * node that lags may still call a demoted server a primary.
 */
export class ClusterTopology implements Topology {
  readonly keys: KeyCheck;
  readonly #seeds: ClusterSeeds;
  readonly #scout: ClusterScout;
  readonly #followers: ClusterFollowers;
  readonly #nodes = new Map<string, RedisNode>();
  /** Nodes that left the Cluster, and when, by `performance.now()`. */
  readonly #left = new Map<string, number>();
  /** Primaries without slots that are not nodes yet, and when they were first seen, by `performance.now()`. */
  readonly #newcomers = new Map<string, number>();
  #replicas = new Map<string, RedisNode>();
  readonly #callbacks = new Set<(moves: Moves) => void>();
  readonly #found = new Signal();
  #view = NO_VIEW;
  /** Since when every answer has been older than one before it, by `performance.now()`. */
  #outdatedSince: number | undefined;
  /** When the view was asked for, in epoch ms. */
  #viewedAt: number | undefined;
  readonly #natMap: NatMap | undefined;
  #started = false;
  #closed = false;

  constructor(
    target: ConnectionTarget,
    name: string,
    private readonly log: Log,
  ) {
    this.#seeds = new ClusterSeeds(target, name);
    this.#natMap = (target.first as Cluster).options.natMap;
    this.#scout = new ClusterScout({
      target,
      seeds: this.#seeds,
      natMap: this.#natMap,
      witnesses: () => this.nodes,
      onView: (view, askedAt) => this.#apply(view, askedAt),
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
      {
        alive: async (keys, onDenied) => {
          const ask = (redis: Redis, key: Buffer) => redis.exists(key);
          const exist = await this.#ask(keys, { ask, forbidden: 0, onDenied });
          return new Set(exist.flatMap((there, i) => (there ? [i] : [])));
        },
        deadlines: (keys, onDenied) =>
          this.#ask(keys, { ask: deadlineOf, forbidden: 'unknown', onDenied }),
      },
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
    return this.nodeOfSlot(slotOf(redisKey));
  }

  nodeOfSlot(slot: number): RedisNode | undefined {
    const owner = this.#view.owners[slot];
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

  /** Makes the nodes what a view of the Cluster says. */
  #apply(view: ClusterView, askedAt: number): void {
    if (isOutdated(view, this.#view) && !this.#insists()) return;
    this.#outdatedSince = undefined;
    const altered = view.owners.some(
      (o, slot) => o !== this.#view.owners[slot],
    );
    const moves = movesBetween(this.#view, view);
    this.#view = view;
    const changed = this.#applyPrimaries(view);
    const prepared = this.#applyReplicas(view.replicas);
    this.#viewedAt = askedAt;
    this.#followers.follow(view.owners);
    this.#found.fire();
    if (changed || prepared || altered)
      for (const callback of this.#callbacks) callback(moves);
  }

  /** Returns whether some node came or left. */
  #applyPrimaries({
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
      // A server that hung and was replaced may awake: it knows nothing of what happened meanwhile.
      const replaced = replicas.has(address) || failed.has(address);
      const useful = !replaced && commands.connected;
      if (useful && now - since < GRACE_MS) continue;
      commands.close();
      this.#nodes.delete(address);
      this.#left.delete(address);
      changed = true;
    }
    return changed;
  }

  /** Whether every answer has been outdated for so long that the Cluster must have been made anew. */
  #insists(): boolean {
    const now = performance.now();
    this.#outdatedSince ??= now;
    if (now - this.#outdatedSince < INSISTING_MS) return false;
    this.log.warn(
      'The Cluster tells of an older state than before, and goes on doing so: it seems to have been made anew, and is followed as it says',
    );
    return true;
  }

  /** Whether a primary without slots has been one for long enough: it may have been demoted a moment ago, which the node that was asked does not know yet. */
  #isSettled(address: string): boolean {
    const now = performance.now();
    const since = this.#newcomers.get(address) ?? now;
    this.#newcomers.set(address, since);
    return now - since >= SETTLING_MS;
  }

  /** Returns whether some replica is new. */
  #applyReplicas(addresses: ReadonlySet<string>): boolean {
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
      inCluster: true,
      commands: this.#seeds.connect(address, this.log),
      noticedAfter: 0,
      openListener: () => this.#seeds.open(address),
      keyWith: (prefix) => this.#keyOn(address, prefix),
    };
  }

  #keyOn(address: string, prefix: string): string | undefined {
    const { owners } = this.#view;
    if (!owners.includes(address)) return undefined;
    const isOwn = (slot: number): boolean => owners[slot] === address;
    return nameWhere(`${prefix}${randomUUID()}:`, isOwn);
  }

  async #ask<T>(
    keys: readonly Buffer[],
    question: KeyQuestion<T>,
  ): Promise<T[]> {
    try {
      return await askInCluster(keys, question, {
        nodeOf: (key) => this.nodeOf(key) ?? this.nodes[0],
        redirect: (answer) => this.redirect(answer),
      });
    } catch (error) {
      // The connection was closed because its node left: another node serves its keys now.
      const left = error instanceof RedisExpiryError && !this.#closed;
      throw left ? new Error('the node left', { cause: error }) : error;
    }
  }
}
