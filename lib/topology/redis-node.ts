import type { CommandClient } from '../connection/command-client.js';
import type { Opening } from '../connection/connection.js';

/** One Redis server that announces the expiries of its own keys: the only one, or a primary of a Cluster. */
export interface RedisNode {
  /** The node's name in logs and in `status()`, which no other has: `host:port`, a socket's path, or a Sentinel's master name. */
  readonly address: string;
  /** Whether it is one of a Cluster's, whose keys may be on their way from another one. */
  readonly inCluster: boolean;
  /** For ordinary commands to this very server. */
  readonly commands: CommandClient;
  /**
   * Epoch ms from which on it may have served keys and was not listened to: when the nodes were asked last
   * before it was found. Undefined for a node that was there from the start.
   */
  readonly since?: number;
  /** Ms for which another server may have stood in its place before that was noticed. */
  readonly noticedAfter: number;
  /** Makes a client for listening. It is not connected yet, and never connects a second time. Settles by itself. */
  openListener(): Opening;
  /** Makes the name of a key that begins like this and lives on this very node, another one each time; undefined if no slot is this node's. */
  keyWith(prefix: string): string | undefined;
}
