import type { CommandClient } from '../connection/command-client.js';
import type { AliveCheck } from '../handlers/dispatcher.js';
import type { RedisNode } from './redis-node.js';

/** Which servers announce expiries, now and as that changes. */
export interface Topology {
  /** The nodes as they are known now. */
  readonly nodes: readonly RedisNode[];
  /** Asks whether keys exist, wherever they live. */
  readonly keys: AliveCheck;
  /** Finds the nodes. Resolves when they are known; may be called more than once. */
  start(): Promise<void>;
  /** Calls back whenever the nodes changed, until the function that it returns is called. */
  onChange(callback: () => void): () => void;
  /** Makes a connection for commands on the module's own keys of a group; whoever asked closes it. */
  openCommands(): CommandClient;
  /** Closes every connection that is not a listener's. */
  close(): void;
}
