import type { Redis } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';

/** One Redis server that announces the expiries of its own keys: the only one, or a primary of a Cluster. */
export interface RedisNode {
  /** Tells it from other nodes, in logs and in `status()`: `host:port`, a socket's path, or a Sentinel's master name. */
  readonly address: string;
  /** For ordinary commands to this very server. */
  readonly commands: CommandClient;
  /** Epoch ms since when it may have served keys and was not listened to; undefined for a node that was there from the start. */
  readonly since?: number;
  /** Ms for which another server may have stood in its place before that was noticed. */
  readonly noticedAfter: number;
  /** Makes a client for listening: not connected yet, and it never connects a second time. */
  openListener(): Redis;
  /** A key that begins like this and lives on this very node, another one each time; undefined if none does. */
  keyWith(prefix: string): string | undefined;
}
