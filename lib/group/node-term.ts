import type { Commands } from '../connection/commands.js';
import type { PunctualOptions } from '../deadlines/discovery.js';
import type { ValueOptions } from '../deadlines/value-reader.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Log } from '../util/log.js';
import type { Destinations } from './key-finder.js';
import type { RedisIndex } from './redis-index.js';
import type { JudgingTerm } from './sweep.js';

/** The leader's term as the node sees it that is watched in it. `LeaderTerm` is one. */
export interface NodeTerm extends Omit<JudgingTerm, 'forwarder'> {
  readonly index: RedisIndex;
  readonly registry: SubscriptionRegistry;
  readonly punctual: PunctualOptions;
  readonly values: ValueOptions;
  readonly log: Log;
  /** On a Cluster: where keys are that are elsewhere. */
  readonly destinations: Destinations | undefined;
  /** The same connection, as long as the term lasts. */
  commands(connection: Commands): Commands;
  /** Resolves once everything that the node announced before now has been heard. Rejects if that cannot be known. */
  barrier(node: RedisNode): Promise<void>;
}
