import type { NodeStatus } from '../listening/node-status.js';
import type { SubscriptionRegistry } from '../listening/subscription-registry.js';
import { type Backlog, sumOf } from './backlog.js';
import type { GroupListener } from './group-patterns.js';
import type { PartitionMember, PartitionStatus } from './partition-member.js';

/**
 * This instance's part in all partitions of a group, as one. A call goes to every partition, and
 * resolves when it is done in all of them.
 */
export class PartitionMembers implements GroupListener {
  #members: readonly PartitionMember[] = [];

  /** @param registry the patterns that whoever leads listens for */
  constructor(readonly registry: SubscriptionRegistry) {}

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

  add(member: PartitionMember): void {
    this.#members = [...this.#members, member];
  }

  start(): Promise<void> {
    return this.#all((member) => member.start());
  }

  stop(): Promise<void> {
    return this.#all((member) => member.stop());
  }

  finish(): Promise<void> {
    return this.#all((member) => member.finish());
  }

  release(): void {
    for (const { partition } of this.#members) partition.release();
  }

  close(): void {
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
