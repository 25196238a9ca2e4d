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

/** An error that the server answered with, as opposed to a connection that failed. */
export const isReplyError = (error: unknown): error is Error =>
  error instanceof Error && error.name === 'ReplyError';

/** The server's ACL forbids it. */
export const isForbidden = (error: unknown): boolean =>
  isReplyError(error) &&
  /^NOPERM|ACL failure in script|user executing the script/.test(error.message);

/** The key lives on another node by now, or is on its way there. */
export const isElsewhere = (error: unknown): error is Error =>
  isReplyError(error) && /^(MOVED|ASK) /.test(error.message);
