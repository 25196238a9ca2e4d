/** What is known of the time of an expiry that was heard. */
export interface ExpiryTiming {
  /** When its time to live ran out, by Redis's clock. */
  readonly deadline: Date;
  /** Ms from then until it was heard. */
  readonly lateness: number;
}

/** What one scan of a server found. */
export interface ScanReport {
  /** When it began. */
  readonly at: Date;
  /** Keys that match and have a deadline. */
  readonly keys: number;
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
 * Is told what one node's listener hears and how listening goes. Everything is called from the
 * socket's callback or between two states: it must be quick, and must not throw.
 */
export interface NodeObserver {
  /**
   * The node is listened to: everything from here on is heard. Called again when subscriptions
   * change. `proven`: that it announces expiries is known, and not merely assumed. `served`: the
   * patterns, as users wrote them, whose subscription the node acknowledged.
   */
  listening(proven: boolean, served: ReadonlySet<string>): void;
  /** The node is not listened to any more, and it is so many ms ago that it certainly was. */
  lost(ago: number): void;
  /**
   * The node is listened to, but announces nothing, as far as can be known; so many ms ago it
   * certainly did, or it never has. `served`: as of `listening`.
   */
  silent(ago: number, served: ReadonlySet<string>): void;
  /** Another server stands in the node's place than the one that was listened to before. */
  replaced?(): void;
  /** It serves more keys than before, which other nodes, by their addresses, served. */
  gained?(from: ReadonlySet<string>): void;
  /** Something happened to a key that matches some pattern: one of the events that the registry is to listen for. */
  hint(event: string, redisKey: Buffer): void;
  /** A key that matches some pattern was written or removed, by whatever; only where keys are tracked. */
  changed(redisKey: Buffer): void;
  /** An expiry was heard; what is known of its time, or that another server told it already. */
  expired(redisKey: Buffer): ExpiryTiming | 'repeat' | undefined;
  /** What there is to tell in `status()`. */
  readonly status: DeadlineStatus;
  /** Resolves when the deadlines are known of all keys that existed when their pattern was first listened for. */
  ready(): Promise<void>;
  close(): void;
}
