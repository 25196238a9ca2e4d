import type { Places } from '../dispatch/places.js';
import type { NodeStatus } from '../listening/node-status.js';
import { Consumer } from './consumer.js';
import type { DeliveryContext } from './delivery.js';
import type { Backlog } from './backlog.js';
import { EventStream } from './event-stream.js';
import { GraceRecord, type RecordPlace } from './grace-record.js';
import { LeaderLease, type LeaseHolder } from './leader-lease.js';
import {
  LeaderTerm,
  type TermParts,
  type WatcherOptions,
} from './leader-term.js';
import type { LeaseShares } from './lease-shares.js';
import type { DroppedLetters, LetterLimits } from './letter-limits.js';
import type { PartitionMap } from './partition-map.js';
import type { PartitionRegistry } from './partition-registry.js';
import type { Partition } from './partition.js';
import { RunLedger } from './run-ledger.js';

/** Ms for which a partition stays that is drained: others may know an older map, and go on to bring entries. */
const RETIRE_AFTER_MS = 10_000;

/** What all partitions of a group have in common in one instance. */
export interface MemberParts extends TermParts {
  readonly group: string;
  /** The name of this instance, another one at each start. */
  readonly instance: string;
  readonly options: WatcherOptions & {
    readonly leaseDuration: number;
    readonly deadLetters: LetterLimits;
  };
  readonly context: Omit<DeliveryContext, 'ledger'>;
  /** The places for events, which all consumers of this instance share. */
  readonly places: Places;
  readonly dropped: DroppedLetters;
  /** How the leases are spread over the instances. */
  readonly shares: LeaseShares;
  /** On a Cluster: the partition that watches a key; undefined where that is not known. */
  readonly placeOf?:
    ((redisKey: Buffer) => RecordPlace | undefined) | undefined;
  /** On a Cluster: the partitions that there are. */
  readonly map: PartitionMap | undefined;
}

/** What `status()` tells of one partition, as of a few seconds ago. */
export interface PartitionStatus extends Partial<Backlog> {
  /** The hash tag of its keys. */
  readonly tag: string;
  /** The node that serves it, as far as is known. */
  readonly node: string | undefined;
  /** Whether this instance is the one that watches its deadlines. */
  readonly leads: boolean;
  /** When this instance last saw that some instance leads. It looks every 2 s; its own start, before the first time. */
  readonly leaderSeen: Date;
  /** The nodes that this instance listens to, while it leads. */
  readonly nodes: readonly NodeStatus[];
}

/**
 * This instance's part in one partition: it takes events, and stands by to watch the deadlines.
 *
 * States:
 * - new → `start` → following: it takes events, and asks for the lease again and again.
 * - following ⇄ leading: while it holds the lease there is a leader term, which is made for that time and
 *   ends with it.
 * - → `stop` (takes nothing more, gives the lease back) → `finish` (tells Redis what has ended) → `close`.
 *
 * Guarantees: it watches only under the lease. `watchedUntil` never passes a deadline that is not
 * settled, so whatever happens to this process, the next holder knows what to look into.
 */
export class PartitionMember implements LeaseHolder {
  readonly #lease: LeaderLease;
  readonly #consumer: Consumer;
  #term: LeaderTerm | undefined;
  #isStarted = false;
  /** By `performance.now()`, while it leads and the partition is drained. */
  #drainedSince: number | undefined;

  constructor(
    readonly partition: Partition,
    private readonly parts: MemberParts,
  ) {
    const { group, instance, options, context } = parts;
    const { places, counters, dropped, log } = parts;
    const stream = new EventStream(
      ...[partition, group, instance, options.deadLetters],
    );
    const graces = new GraceRecord(
      ...([partition.commands, partition.keys] as const),
      { group, consumer: instance },
      parts.placeOf,
    );
    this.#lease = new LeaderLease(
      ...([partition.commands, partition.keys, instance, this, log] as const),
      parts.shares.open(),
    );
    this.#consumer = new Consumer({
      ...{ stream, places, counters, dropped, log },
      leaseDuration: options.leaseDuration,
      leads: () => this.#lease.held,
      context: {
        ...context,
        ledger: new RunLedger(stream, graces, group, log),
      },
    });
  }

  /** Whether it holds the lease, by its own clock. */
  get leads(): boolean {
    return this.#lease.held;
  }

  get status(): PartitionStatus {
    const { tag, node } = this.partition;
    const { backlog, leaderSeen } = this.#consumer;
    const { leads } = this;
    return { tag, node, leads, leaderSeen, nodes: this.#nodes, ...backlog };
  }

  /** The node that it listens to, and how many keys of it the index knows. */
  get #nodes(): NodeStatus[] {
    const nodes = this.#term?.listener.nodes ?? [];
    const tracked = this.#consumer.backlog?.tracked;
    if (tracked === undefined) return nodes;
    return nodes.map((node) => ({ ...node, tracked }));
  }

  /** Whether `start` has succeeded. */
  get isStarted(): boolean {
    return this.#isStarted;
  }

  /** What keeps it from working, in words. */
  get reasons(): string[] {
    const { lastError = this.parts.topology.lastError } = this.partition;
    const reasons = this.#term?.listener.reasons ?? [];
    return lastError === undefined ? reasons : [lastError, ...reasons];
  }

  /** Resolves when it takes events and the deadlines are watched, by this instance or another one. Rejects as Redis does. */
  async start(): Promise<void> {
    await this.#consumer.start();
    await this.#lease.start();
    this.#isStarted = true;
  }

  /**
   * Takes the partition off the list if it has been drained for 10 s and has nothing to do any more. Rejects as `PartitionRegistry` does.
   *
   * @param heir the one that watches the node of this one; undefined while it is not known here
   */
  async retire(
    list: PartitionRegistry,
    heir: Partition | undefined,
  ): Promise<boolean> {
    const { partition } = this;
    const term = this.leads ? this.#term : undefined;
    if (!term?.isDrained || !heir || heir === partition) {
      this.#drainedSince = undefined;
      return false;
    }
    this.#drainedSince ??= performance.now();
    if (performance.now() < this.#drainedSince + RETIRE_AFTER_MS) return false;
    return list.retire(partition, term.token, heir);
  }

  /** Takes nothing more, and hands the watch over. */
  async stop(): Promise<void> {
    await Promise.all([this.#lease.close(), this.#consumer.stop()]);
  }

  /** After `stop` and once its handlers have ended: tells Redis. Never rejects. */
  finish(): Promise<void> {
    return this.#consumer.finish();
  }

  close(): void {
    // Where nothing was drained, as after a failed start, these still run.
    void this.#lease.close();
    void this.#consumer.stop();
    void this.#consumer.finish();
    this.onLost();
    this.partition.close();
  }

  /** Takes up a pattern that was added or removed; resolves when it is listened for, if it leads. */
  async refresh(): Promise<void> {
    await this.#term?.listener.refresh();
  }

  /** Resolves when every node acknowledged a pattern, if it leads. Rejects as the listener does. */
  served(pattern: string): Promise<void> {
    return this.#whileLeading((term) => term.listener.served(pattern));
  }

  /** Resolves when every node is listened to, if it leads. Rejects as the listener does. */
  listening(): Promise<void> {
    return this.#whileLeading((term) => term.listener.listening());
  }

  /** Resolves when the first scan is done, if it leads. Rejects as the listener does. */
  ready(): Promise<void> {
    return this.#whileLeading((term) => term.listener.ready());
  }

  /** For `LeaderLease`. */
  onHeld(token: string, watched: number | undefined): void {
    const { partition, parts } = this;
    const { map } = parts;
    this.#term = new LeaderTerm(
      ...([partition, token, watched, parts] as const),
      map && {
        isDrained: () => map.isDrained(partition),
        onChange: (callback) => map.onChange(callback),
      },
    );
    this.#term.start();
  }

  /** For `LeaderLease`. */
  onLost(): void {
    this.#term?.close();
    this.#term = undefined;
  }

  /** For `LeaderLease`. */
  watchedUntil(): number | undefined {
    return this.#term?.watchedUntil();
  }

  /** Waits for something of the term; in vain, and without an error, if the lease goes to another instance. */
  async #whileLeading(
    wait: (term: LeaderTerm) => Promise<void>,
  ): Promise<void> {
    // A partition that is drained, or that nobody serves now, has no node to wait for.
    while (this.#term && this.leads && this.#term.hasNode) {
      try {
        await wait(this.#term);
        return;
      } catch (error) {
        if (this.leads) throw error;
      }
    }
  }
}
