import { isMissingGroup } from '../connection/server-error.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Topology } from '../topology/topology.js';
import { Lifetime } from '../util/lifetime.js';
import type { Log } from '../util/log.js';
import { type Backlog, sumOf } from './backlog.js';
import { DeadLetters } from './dead-letters.js';
import { EventStream } from './event-stream.js';
import { homeKeys } from './group-keys.js';
import { type KnownInstance, readInstances } from './known-instances.js';
import { type PartitionAges, readAges } from './partition-ages.js';
import { PartitionRegistry } from './partition-registry.js';
import { Partition } from './partition.js';
import { checkOneSlot } from './server-check.js';
import { WriteRefusals } from './write-refusals.js';

/** Ms within which a partition must answer. */
const PATIENCE_MS = 5_000;

/** What there is to say of one partition of a group, at one moment. */
export interface PartitionView extends Backlog, PartitionAges {
  /** The hash tag of its keys. */
  readonly tag: string;
  /** The address of the node that serves it, as far as is known. */
  readonly node: string | undefined;
}

/** A partition that gave no answer. */
export interface SilentPartition {
  readonly tag: string;
  readonly node: string | undefined;
  /** Why, as far as is known. */
  readonly reason: string;
}

/** What there is to say of a group, at one moment. */
export interface GroupViewed {
  readonly group: string;
  /** The figures of all partitions together that answered. */
  readonly total: Backlog;
  readonly partitions: readonly PartitionView[];
  /** Partitions that did not answer within 5 s. */
  readonly silent: readonly SilentPartition[];
  /** The instances that note what handlers they have. */
  readonly instances: readonly KnownInstance[];
}

/**
 * A group as it looks from outside: what it has to do, who does it, and its dead letters. It belongs to no
 * instance, runs no handler, takes no event and no lease. The command line makes it.
 *
 * States: new → `open` → open → `close`, for good; commands under way reject then with `CLOSED`.
 */
export class GroupView {
  readonly letters: DeadLetters;
  readonly #home: Partition;
  readonly #refusals: WriteRefusals;
  #partitions: readonly Partition[];

  constructor(
    private readonly group: string,
    private readonly options: {
      readonly target: ConnectionTarget;
      /** What every key of the module begins with: `keyPrefix` and namespace. */
      readonly ownPrefix: string;
    },
    private readonly topology: Topology,
    log: Log,
  ) {
    const { target, ownPrefix } = options;
    this.#refusals = new WriteRefusals(group, log);
    this.#home = new Partition(group, 0, ownPrefix, topology, this.#refusals);
    this.#partitions = [this.#home];
    this.letters = new DeadLetters(
      () => this.#partitions,
      ...([group, target.keyPrefix] as const),
    );
  }

  /** Why it cannot be reached, while it cannot. */
  get lastError(): string | undefined {
    const reasons = this.#partitions.map(({ lastError }) => lastError);
    return reasons.find((reason) => reason) ?? this.topology.lastError;
  }

  /** Finds its partitions. Rejects with `GROUP_REFUSED`, with `CLOSED`, or as the commands do. */
  async open(): Promise<void> {
    const { group, topology } = this;
    const { target, ownPrefix } = this.options;
    await topology.start();
    if (!target.isCluster) return;
    checkOneSlot(group, this.#home.keys, target.keyPrefix);
    const keys = homeKeys(ownPrefix, group);
    const list = new PartitionRegistry(this.#home.commands, keys, group);
    const names = await list.read();
    this.#partitions = names.map(({ tag, number }) =>
      number === this.#home.number
        ? this.#home
        : new Partition(tag, number, ownPrefix, topology, this.#refusals),
    );
  }

  /** Whether any instance ever worked for a group of this name. Rejects as the command does. */
  async exists(): Promise<boolean> {
    const { commands, keys } = this.#home;
    try {
      await commands.run((redis) => redis.xpending(keys.events, this.group));
      return true;
    } catch (error) {
      if (isMissingGroup(error)) return false;
      throw error;
    }
  }

  /** Looks at all of it, for five seconds at most. Rejects as the commands do, and where the home partition does not answer. */
  async look(): Promise<GroupViewed> {
    const { group, options } = this;
    const answers = new Lifetime();
    const timer = setTimeout(
      () => answers.end(new NoAnswer(`no answer within ${PATIENCE_MS} ms`)),
      PATIENCE_MS,
    );
    try {
      const { commands } = this.#home;
      const { instances } = homeKeys(options.ownPrefix, group);
      const [known, ...viewed] = await Promise.all([
        answers.guard(readInstances(commands, instances)),
        ...this.#partitions.map((each) => this.#lookAt(each, answers)),
      ]);
      // One that was just added has nothing yet.
      const there = viewed.flatMap((each) => each ?? []);
      const partitions = there.filter((each) => 'lag' in each);
      const silent = there.filter((each) => 'reason' in each);
      const total = sumOf(partitions) as Backlog;
      return { group, total, partitions, silent, instances: known };
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    for (const partition of this.#partitions) partition.close();
    this.#refusals.close();
  }

  async #lookAt(
    partition: Partition,
    answers: Lifetime,
  ): Promise<PartitionView | SilentPartition | undefined> {
    const { tag, node, commands, keys } = partition;
    try {
      const stream = new EventStream(partition, this.group, '');
      const [backlog, ages] = await Promise.all([
        answers.guard(stream.backlog()),
        answers.guard(readAges(commands, keys, this.group)),
      ]);
      return { tag, node, ...backlog, ...ages };
    } catch (error) {
      if (isMissingGroup(error)) return undefined;
      if (!(error instanceof NoAnswer)) throw error;
      return { tag, node, reason: partition.lastError ?? reasonOf(error) };
    }
  }
}

class NoAnswer extends Error {}
