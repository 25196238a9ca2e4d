import type { CommandClient } from '../connection/command-client.js';
import type { AliveCheck } from '../dispatch/dispatcher.js';
import type { RedisNode } from './redis-node.js';

/** Which nodes, by address, took slots over from which others: to → from. */
export type Moves = ReadonlyMap<string, ReadonlySet<string>>;

/** Where to ask for a key that is not where it was asked for. */
export interface Redirection {
  readonly node: RedisNode;
  /** The key is on its way there: each command needs an `ASKING` before it. */
  readonly asking: boolean;
}

/** Which servers announce expiries, now and as that changes. The engine has one, and all that listen or send commands share it. */
export interface Topology {
  /** The nodes as they are known now. */
  readonly nodes: readonly RedisNode[];
  /** Servers that may become nodes, because they are replicas of one. */
  readonly replicas: readonly RedisNode[];
  /** Asks whether keys exist, wherever they live. */
  readonly keys: AliveCheck;
  /** Why no node is known, while none is. */
  readonly lastError: string | undefined;
  /** The node that serves a key, as far as is known. */
  nodeOf(redisKey: Buffer): RedisNode | undefined;
  /** The node that serves a slot of a Cluster, as far as is known; on one server, that one. */
  nodeOfSlot(slot: number): RedisNode | undefined;
  /** Where an answer (`MOVED`, `ASK`) says that a key lives; undefined where it names no node that is known. */
  redirect(answer: Error): Redirection | undefined;
  /**
   * Finds the nodes. Resolves when they are known; may be called more than once. Rejects with
   * `CONNECT_FAILED` where no later try can find them.
   */
  start(): Promise<void>;
  /** Calls back whenever the nodes or what they serve changed, until the function that it returns is called. */
  onChange(callback: (moves: Moves) => void): () => void;
  /** Something speaks for a change, so the nodes are asked soon. */
  doubt(): void;
  /** Makes a connection for commands on one key, or keys that live beside it, wherever they live now. The caller closes it. */
  openCommands(key: string): CommandClient;
  /** Closes every connection that is not a listener's. */
  close(): void;
}
