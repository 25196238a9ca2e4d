/** What a device writes into its key: the key's value, as JSON. */
export interface Heartbeat {
  /** Per cent. */
  readonly battery: number;
}

/** What is known of one device; also what the page is sent. Times are in milliseconds. */
export interface Device {
  readonly id: string;
  readonly status: 'online' | 'offline';
  /** When its key expires unless another heartbeat comes; it is silent from then on. */
  readonly deadline?: number;
  /** It is online, and its key is about to expire: no heartbeat came in time. */
  readonly expiring?: boolean;
  /** How often it went offline. */
  readonly outages: number;
  /** How often it fell silent and was back before it was offline. */
  readonly backInTime?: number;

  // Of its latest outage:

  /** When its key expired. */
  readonly offlineSince?: number;
  /** From then to the moment when that was noticed. */
  readonly lateness?: number;
  /** Per cent that it had at the end, if its key told. */
  readonly battery?: number;
  /** How long before its key expired that was read. */
  readonly valueAge?: number;
  /** What names it: `KeyExpiredEvent.id`. */
  readonly expiry?: string;
  /** The try that got through: 1, unless an instance died over it. */
  readonly attempt?: number;
  /** The instance that handled it, where there are several. */
  readonly handledBy?: string;
}
