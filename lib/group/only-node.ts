import type { CommandClient } from '../connection/command-client.js';
import type { AliveCheck } from '../dispatch/dispatcher.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Moves, Redirection, Topology } from '../topology/topology.js';

/** Whether a partition is drained, and when that may have changed. `PartitionMap` knows it. */
export interface DrainedState {
  isDrained(): boolean;
  onChange(callback: () => void): () => void;
}

/**
 * A topology of one node, as the leader of a partition sees it: the node that serves the partition; and of no
 * node, while nobody serves it, or another partition watches that node. Each `LeaderTerm` has one.
 */
export class OnlyNode implements Topology {
  /** @param key one of the partition's */
  constructor(
    private readonly topology: Topology,
    private readonly key: Buffer,
    private readonly drained: DrainedState | undefined,
  ) {}

  /** The node that serves the partition, whoever watches it. */
  get home(): RedisNode | undefined {
    return this.topology.nodeOf(this.key);
  }

  /** The addresses of all nodes. */
  get primaries(): string[] {
    return this.topology.nodes.map(({ address }) => address);
  }

  get isDrained(): boolean {
    return this.drained?.isDrained() ?? false;
  }

  get nodes(): readonly RedisNode[] {
    const { home } = this;
    return home && !this.isDrained ? [home] : [];
  }

  get replicas(): readonly RedisNode[] {
    return this.topology.replicas;
  }

  get keys(): AliveCheck {
    return this.topology.keys;
  }

  get lastError(): string | undefined {
    return this.topology.lastError;
  }

  nodeOf(redisKey: Buffer): RedisNode | undefined {
    return this.topology.nodeOf(redisKey);
  }

  nodeOfSlot(slot: number): RedisNode | undefined {
    return this.topology.nodeOfSlot(slot);
  }

  redirect(answer: Error): Redirection | undefined {
    return this.topology.redirect(answer);
  }

  start(): Promise<void> {
    return this.topology.start();
  }

  onChange(callback: (moves: Moves) => void): () => void {
    const ends = [
      this.topology.onChange(callback),
      this.drained?.onChange(() => callback(new Map())),
    ];
    return () => {
      for (const end of ends) end?.();
    };
  }

  doubt(): void {
    this.topology.doubt();
  }

  openCommands(key: string): CommandClient {
    return this.topology.openCommands(key);
  }

  /** It is not its own: nothing is closed. */
  close(): void {}
}
