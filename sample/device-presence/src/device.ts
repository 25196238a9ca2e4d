/** What is known of one device; also what the page is sent. Times are in milliseconds. */
export interface Device {
  readonly id: string;
  readonly status: 'online' | 'offline';
  /** When its key expires unless another heartbeat comes; it is silent from then on. */
  readonly deadline?: number;
  /** How often it went offline. */
  readonly outages: number;
  /** How often it fell silent and was back before it was offline. */
  readonly backInTime?: number;

  // Of its latest outage:

  /** When its key expired. */
  readonly offlineSince?: number;
  /** From then to the moment when that was noticed. */
  readonly lateness?: number;
  /** What names it: `KeyExpiredEvent.id`. */
  readonly expiry?: string;
  /** The try that got through: 1, unless an instance died over it. */
  readonly attempt?: number;
  /** The instance that handled it, where there are several. */
  readonly handledBy?: string;
}
