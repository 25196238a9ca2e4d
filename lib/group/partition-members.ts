import { reasonOf } from '../errors/redis-expiry.error.js';
import type { NodeStatus } from '../listening/node-status.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { Log } from '../util/log.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import { type Backlog, sumOf } from './backlog.js';
import type { Graces } from './graces.js';
import type { GroupListener } from './group-patterns.js';
import type { Destination } from './key-finder.js';
import type { PartitionMap } from './partition-map.js';
import type { PartitionMember, PartitionStatus } from './partition-member.js';
import type { PartitionRegistry } from './partition-registry.js';
import type { PartitionName } from './partition-tags.js';
import type { Partition } from './partition.js';

/** Ms until a partition is started again that could not be. */
const RETRY_MS = 500;
/** Ms between two looks whether a partition has nothing to do any more. */
const RETIRE_MS = 2_000;

/** On a Cluster: which partitions there are, and the list of them. */
export interface PartitionSource {
  readonly map: PartitionMap;
  readonly list: PartitionRegistry;
}

/**
 * This instance's part in all partitions of a group, as one. A call goes to every partition, and
 * resolves when it is done in all of them.
 *
 * States: new → `start` → running → `stop` → `finish` → `close`. On a Cluster partitions come and go while it
 * runs: one that comes is started in the background, until that succeeds; one that has nothing to do any more is
 * taken off the list, and then stopped.
 */
export class PartitionMembers implements GroupListener {
  /** Makes the part in another partition; whoever puts the group together sets it. */
  make: ((name: PartitionName) => PartitionMember) | undefined;
  #members: readonly PartitionMember[] = [];
  readonly #timer = new SoonestTimer(() => this.#keepUp());
  #unfollow: (() => void) | undefined;
  #isRunning = false;

  /**
   * @param registry the patterns that whoever leads listens for
   * @param graces for which keys some handler has a grace
   */
  constructor(
    readonly registry: SubscriptionRegistry,
    readonly graces: Graces,
    private readonly source: PartitionSource | undefined,
    private readonly log: Log,
  ) {}

  /** Whether this instance leads some partition. */
  get leads(): boolean {
    return this.#members.some(({ leads }) => leads);
  }

  get status(): PartitionStatus[] {
    return this.#members.map(({ status }) => status);
  }

  /** What keeps them from working, in words. */
  get reasons(): string[] {
    return this.#members.flatMap(({ reasons }) => reasons);
  }

  get partitions(): Partition[] {
    return this.#members.map(({ partition }) => partition);
  }

  /** A partition; undefined for one that this instance does not know yet. */
  find(name: PartitionName | undefined): Partition | undefined {
    return this.partitions.find(({ number }) => number === name?.number);
  }

  /** The index of a partition; undefined for one that this instance does not know yet. */
  indexOf(name: PartitionName | undefined): Destination | undefined {
    const found = this.find(name);
    if (!found) return undefined;
    const { index, lease, warnings, befores } = found.keys;
    return { commands: found.commands, index, lease, warnings, befores };
  }

  add(member: PartitionMember): void {
    this.#members = [...this.#members, member];
  }

  async start(): Promise<void> {
    const { map } = this.source ?? {};
    await map?.start();
    this.#takeUp();
    await this.#all((member) => member.start());
    if (!map) return;
    this.#isRunning = true;
    this.#unfollow ??= map.onChange(() => this.#takeUp());
    this.#takeUp();
    this.#timer.within(RETIRE_MS);
  }

  async stop(): Promise<void> {
    this.#unfollowAll();
    await this.#all((member) => member.stop());
  }

  finish(): Promise<void> {
    return this.#all((member) => member.finish());
  }

  release(): void {
    for (const partition of this.partitions) partition.release();
  }

  close(): void {
    this.#unfollowAll();
    for (const member of this.#members) member.close();
  }

  refresh(): Promise<void> {
    return this.#all((member) => member.refresh());
  }

  served(pattern: string): Promise<void> {
    return this.#all((member) => member.served(pattern));
  }

  listening(): Promise<void> {
    return this.#all((member) => member.listening());
  }

  ready(): Promise<void> {
    return this.#all((member) => member.ready());
  }

  async #all(work: (member: PartitionMember) => Promise<void>): Promise<void> {
    await Promise.all(this.#members.map(work));
  }

  #unfollowAll(): void {
    this.#isRunning = false;
    this.#timer.stop();
    this.#unfollow?.();
    this.source?.map.stop();
  }

  /** Makes the members those of the partitions in use. */
  #takeUp(): void {
    const { source, make } = this;
    if (!source || !make) return;
    const { names } = source.map;
    const numbers = new Set(names.map(({ number }) => number));
    const gone = this.#members.filter(
      ({ partition }) => !numbers.has(partition.number),
    );
    const known = new Set(this.partitions.map(({ number }) => number));
    const come = names.filter(({ number }) => !known.has(number)).map(make);
    const stay = this.#members.filter((member) => !gone.includes(member));
    this.#members = [...stay, ...come];
    for (const member of gone) void this.#end(member);
    if (this.#isRunning && come.length > 0) this.#timer.within(0);
  }

  async #keepUp(): Promise<void> {
    const { source } = this;
    if (!source || !this.#isRunning) return;
    const results = await Promise.allSettled(
      this.#members.map(async (member) => {
        if (!member.isStarted) await member.start();
        else if (await member.retire(source.list, this.#watcherOf(member)))
          source.map.refresh();
      }),
    );
    for (const result of results)
      if (result.status === 'rejected')
        this.log.debug(`A partition: ${reasonOf(result.reason)}`);
    const isAnyNew = this.#members.some(({ isStarted }) => !isStarted);
    this.#timer.within(isAnyNew ? RETRY_MS : RETIRE_MS);
  }

  /** The partition that watches the node which serves this one. */
  #watcherOf({ partition }: PartitionMember): Partition | undefined {
    const { node } = partition;
    return node === undefined
      ? undefined
      : this.find(this.source?.map.watchingAt(node));
  }

  /** Ends the part in a partition that is not in use any more. */
  async #end(member: PartitionMember): Promise<void> {
    try {
      await member.stop();
      await member.finish();
      const { partition } = member;
      if (await this.source?.list.takeBack(partition))
        this.source?.map.refresh();
    } catch (error) {
      this.log.debug(`A partition was left: ${reasonOf(error)}`);
    }
    member.close();
  }
}

/** The figures of all partitions together; none before each of them was asked. */
export function totalOf(partitions: readonly PartitionStatus[]): {
  readonly leads: boolean;
  readonly nodes: readonly NodeStatus[];
} & Partial<Backlog> {
  return {
    leads: partitions.some(({ leads }) => leads),
    nodes: partitions.flatMap(({ nodes }) => nodes),
    ...sumOf(partitions),
  };
}
