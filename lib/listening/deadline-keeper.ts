import type { ReadValue } from '../dispatch/event-value.js';

/** What is known of the time of an expiry that was heard. */
export interface ExpiryTiming {
  /** When its time to live ran out, by Redis's clock. */
  readonly deadline: Date;
  /** Ms from then until it was heard. */
  readonly lateness: number;
  /** The value that it had, where somebody asks for it and it was read in time. */
  readonly value?: ReadValue;
}

/** What one scan of a server found. */
export interface ScanReport {
  /** When it began. */
  readonly at: Date;
  /** Keys that match and have a deadline. */
  readonly keys: number;
  /**
   * All keys of the database that have a deadline, whether they match or not. Counted for a group
   * with `renewals: 'auto'`, by the scans of all of its patterns, where the server tells (`INFO`).
   */
  readonly volatile?: number;
  /** How long it took, in ms. */
  readonly duration: number;
}

/** What `status()` tells of the deadlines that are known of one node's keys. */
export interface DeadlineStatus {
  /**
   * Keys whose deadline is known. In a group it is read every 2 s; unset for the nodes of a Cluster,
   * which a group does not count one by one: `GroupStatus.tracked` counts all of them.
   */
  readonly tracked?: number;
  /** The newest scan that was completed. */
  readonly lastScan?: ScanReport;
}

/**
 * What is known of an expiry that was announced: its time; undefined where the deadline was not known;
 * `'repeat'` where another server has announced it already, so that no handler is to hear of it again.
 */
export type ExpiryAnswer = ExpiryTiming | 'repeat' | undefined;

/**
 * Keeps the deadlines of one node's keys. The node's listener tells it how listening goes and what was
 * announced, and asks it about each expiry. `lib/deadlines` and `lib/group` implement it.
 *
 * The listener calls every method from the socket's callback or between two of its states: a method
 * must be quick, and must not throw.
 */
export interface DeadlineKeeper {
  /**
   * The node is listened to: everything from here on is heard. The listener calls it again when
   * subscriptions change.
   *
   * @param proven whether it is known that the node announces expiries, and not merely assumed
   * @param served the patterns, as users wrote them, whose subscription the node acknowledged
   */
  listening(proven: boolean, served: ReadonlySet<string>): void;
  /** The node is not listened to any more. It was for certain until `ago` ms before now. */
  lost(ago: number): void;
  /**
   * The node is listened to, but announces nothing, as far as can be known. It did for certain until
   * `ago` ms before now, or it never has. `served`: as of `listening`.
   */
  silent(ago: number, served: ReadonlySet<string>): void;
  /** Another server stands in the node's place than the one that was listened to before. */
  replaced?(): void;
  /** The node serves more keys than before: those that nodes with these addresses served. */
  gained?(from: ReadonlySet<string>): void;
  /** One of the events that the registry names as hints happened to a key that matches some pattern. */
  hint(event: string, redisKey: Buffer): void;
  /** A key that matches some pattern was written or removed, by whatever; only where keys are tracked. */
  changed(redisKey: Buffer): void;
  /** The node announced the expiry of a key that matches some pattern. Returns what is known of it. */
  expired(redisKey: Buffer): ExpiryAnswer;
  /**
   * Whether it is to hear of each key that is given a new deadline (`expire` events); it is if this
   * is left out. The listener asks at each of its looks.
   */
  readonly wantsRenewals?: boolean;
  /** What there is to tell in `status()`. */
  readonly status: DeadlineStatus;
  /** Resolves when the deadlines are known of all keys that existed when their pattern was first listened for. */
  ready(): Promise<void>;
  close(): void;
}
