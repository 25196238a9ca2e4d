import type { AliveCheck } from '../handlers/dispatcher.js';
import type { RedisNode } from './redis-node.js';

/** Which servers announce expiries, now and as that changes. */
export interface Topology {
  /** The nodes as they are known now. */
  readonly nodes: readonly RedisNode[];
  /** Asks whether keys exist, wherever they live. */
  readonly keys: AliveCheck;
  /** Finds the nodes and calls back whenever they change, the first time before it resolves. */
  start(onChange: () => void): Promise<void>;
  /** Closes every connection that is not a listener's. */
  close(): void;
}
