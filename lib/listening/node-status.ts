import type { ChannelFamily } from './channels.js';
import type { NotificationsMode } from './flag-keeper.js';
import type { ListeningGap } from './gap.js';
import type { GapTotals } from './gap-totals.js';
import type { DeadlineStatus } from './deadline-keeper.js';
import type { SelfTestResult } from './self-test.js';
import type { ServerRole } from './server-identity.js';

/**
 * By what new keys are learnt of, the best first: `new` events (class `n`), `expire` events (class
 * `g`), client tracking, or scans alone.
 */
export type Learning = 'new' | 'expire' | 'tracking' | 'scan';

/** What is known of the server after a look at it. */
export interface SetupReport {
  /** `unknown` where the server does not tell. */
  readonly role: ServerRole;
  /** `notify-keyspace-events` as the server prints it; unset where CONFIG is forbidden or not looked at. */
  readonly flags?: string;
  /** Letters that are needed and not on, where the flags are known. */
  readonly missingFlags?: string;
  /** Whether an expiry of the module's own was heard. `off`: `notifications: 'off'`. */
  readonly selfTest: SelfTestResult['outcome'] | 'off';
  /** By what new keys are learnt of; unset with `punctual: false`. */
  readonly learning?: Learning;
  /**
   * The family of channels on which expiries are heard: keyspace channels, which the server filters by
   * pattern, or keyevent channels. `undecided` where nothing tells which are on: on whichever they come.
   */
  readonly channels: ChannelFamily | 'undecided';
  /**
   * Whether the module hears of each key that is given a new deadline, as by a heartbeat. If not, a TTL
   * that some client shortens is learnt at the next scan. Unset with `punctual: false`, and where it is
   * not known.
   */
  readonly renewals?: 'heard' | 'not heard';
}

/**
 * What a node's listener is doing.
 *
 * - `connecting`: there is no connection; it is tried again for ever.
 * - `subscribing`: connected, waiting for Redis to acknowledge the subscriptions.
 * - `listening`: every subscription is acknowledged and the server announces expiries.
 * - `refused`: the ACL refuses some subscription; the others work, and it is tried again. Or the
 *   login of the connection for commands is refused (`lastError`), as after a password was changed:
 *   expiries are heard, but cannot be acted upon until it is let in.
 * - `deaf`: the server does not announce expiries, or has no command to subscribe to them; it is looked
 *   at again.
 * - `closed`: shut down.
 */
export type ListenerState =
  'connecting' | 'subscribing' | 'listening' | 'refused' | 'deaf' | 'closed';

/** One node as its listener sees it. */
export interface NodeStatus
  extends Partial<SetupReport>, Partial<DeadlineStatus> {
  readonly address: string;
  readonly state: ListenerState;
  /** Since when its state has been `listening`, or since when it has not been. */
  readonly since: Date;
  /** Patterns and channel patterns whose subscription Redis acknowledged. */
  readonly patterns: readonly string[];
  /** What the server refuses, with its words. */
  readonly refused: readonly { pattern: string; reason: string }[];
  /** The newest time in which expiries may not have been heard. */
  readonly lastGap?: ListeningGap;
  /** Gaps since the start. */
  readonly gaps: number;
  /** Why the last connection failed or was lost, while there is none; or why the one for commands is refused. */
  readonly lastError?: string;
}

export interface ListenerOptions {
  readonly notifications: NotificationsMode;
  readonly database: number;
  /** What the names of the module's own keys begin with. */
  readonly ownPrefix: string;
  /** Whether whoever listens goes on where the server cannot announce anything for want of a command. */
  readonly doesWithoutHearing?: boolean;
  /** Ms within which a connection must be made and be listening. */
  readonly connectTimeout: number;
  readonly retryDelay: (attempt: number) => number;
  /** Is told of each gap. */
  readonly gaps?: GapTotals;
}
