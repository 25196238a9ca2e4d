import type { Commands } from '../connection/commands.js';
import type { PunctualOptions } from '../deadlines/discovery.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Log } from '../util/log.js';
import type { RedisIndex } from './redis-index.js';
import type { GapBook } from './gap-book.js';
import type { Settling } from './settling.js';
import type { JudgingTerm } from './sweep.js';

/** The leader's term as the nodes see it that are watched in it. `LeaderTerm` is one. */
export interface NodeTerm extends JudgingTerm {
  readonly index: RedisIndex;
  readonly registry: SubscriptionRegistry;
  readonly punctual: PunctualOptions;
  readonly log: Log;
  /** Every deadline before this moment, by Redis's clock, is settled where a node is watched; undefined while none is known to be. */
  readonly settledBefore: number | undefined;
  /** The same connection, as long as the term lasts. */
  commands(connection: Commands): Commands;
  /** Resolves once everything that the node announced before now has been heard. Rejects if that cannot be known. */
  barrier(node: RedisNode): Promise<void>;
  /** A node is watched, or silent, that was not, or the other way round. */
  nodeChanged(): void;
  /** Set on a Cluster, where keys live on other nodes than the index. */
  readonly cluster: ClusterTerm | undefined;
}

/** One node of a Cluster as the others see it. */
export interface ClusterNode {
  readonly node: RedisNode;
  readonly gaps: GapBook;
  /** Epoch ms by the index's clock from which on nothing is known; undefined while it is watched. */
  readonly lostUntil: number | undefined;
  /** Looks at keys that another node was asked for. `asking`: they are on their way here. `hops`: nodes that sent them away. */
  take(keys: readonly Buffer[], asking: boolean, hops: number): Promise<void>;
  /** Ms to live by a look: -1 without a deadline, below where it is gone. */
  timeToLive(key: Buffer, asking: boolean): Promise<number>;
}

/** Where a key lives that was asked for elsewhere. */
export interface Whereabouts {
  readonly node: ClusterNode;
  /** It is on its way there. */
  readonly asking: boolean;
}

/** What a term knows of all nodes of a Cluster. */
export interface ClusterTerm {
  readonly settling: Settling;
  /** Whether the node serves a key, as far as is known. */
  serves(node: RedisNode, key: Buffer): boolean;
  /** The nodes that are or were watched at these addresses. */
  watchedAt(addresses: ReadonlySet<string>): readonly ClusterNode[];
  /** Whether an announcement is no news, because another node's look caused it. */
  isExpected(node: ClusterNode, key: Buffer): boolean;
  /** The node that an answer names; undefined where none is known. */
  redirect(answer: Error): Whereabouts | undefined;
}
