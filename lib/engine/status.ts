import type { GroupStatus } from '../group/consumer-group.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { LatenessStatus } from '../dispatch/lateness-window.js';
import type { LongRunningHandler } from '../dispatch/long-runs.js';
import type { GapTotalsStatus } from '../listening/gap-totals.js';
import type { NodeStatus } from '../listening/node-status.js';

/** What `RedisExpirySubscriber.status()` tells: plain data, a copy. */
export interface RedisExpiryStatus {
  /** Each server that is listened to for broadcast. */
  readonly nodes: readonly NodeStatus[];
  /** Each group that handlers of this instance belong to. */
  readonly groups: readonly GroupStatus[];
  /** At any moment: received = handled + failed + superseded + cameBack + dropped + queued + running. */
  readonly counters: Readonly<ExpiryCounters>;
  /** How late the newest 10,000 events were detected, of those whose deadline was known; and a histogram of all. */
  readonly lateness: LatenessStatus;
  /** All gaps in listening since the start. Those of a group count while this instance leads. */
  readonly gaps: GapTotalsStatus;
  /** Events that wait for their handler. */
  readonly queued: number;
  /** Events that are being handled. */
  readonly running: number;
  /** Broadcast: expiries that wait for the `grace` of their handler. Those of a group wait in Redis: see `groups`. */
  readonly inGrace: number;
  /** Handlers that have been running for more than a minute: a warning names each once. */
  readonly longRunning: readonly LongRunningHandler[];
}

/** A subscription made while the application runs. */
export interface ExpirySubscription {
  readonly pattern: string;
  /**
   * Ends it: the handler is not called again from here on. Resolves when Redis acknowledged, or
   * while there is no connection at once. A second call does nothing. Never rejects.
   */
  unsubscribe(): Promise<void>;
}
