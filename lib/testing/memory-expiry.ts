import type { ReadValue } from '../dispatch/event-value.js';
import type { MemoryKeys } from './memory-keys.js';
import type { HandledExpiry, OpenRuns } from './runs.js';
import type { VirtualTime } from './virtual-time.js';

/** What all engines of one test kit share. */
export interface MemoryParts {
  readonly time: VirtualTime;
  readonly keys: MemoryKeys;
  readonly runs: OpenRuns;
  /** A try ended that no `expire` waits for. */
  onHandled(handled: HandledExpiry, key: string): void;
}

/** One expiry that an engine is given. */
export interface MemoryExpiry {
  /** Without a `keyPrefix`. */
  readonly key: Buffer;
  /** Epoch ms. */
  readonly deadline: number;
  /** Only of a warning: ms before the deadline. */
  readonly before?: number;
  /** What the key held; undefined where nobody says so. */
  readonly value?: ReadValue;
  /** Whether a handler of a group that fails is tried again. */
  readonly retry: boolean;
  /** Set where somebody waits for the first tries: told of each, instead of the kit. */
  readonly onHandled?: (handled: HandledExpiry) => void;
}
