import type { ChannelKind } from './channels.js';
import type { SelfTest } from './self-test.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

const EXPIRED = Buffer.from('expired');

/**
 * Sorts what one node's connection hears: expiries, other messages that users subscribed to, and
 * the self-test's. Runs in the socket's callback: O(1) for a keyspace message.
 */
export class ExpiryRoute {
  /** The families on which expiries are listened for. On both, an expiry is still handed on once. */
  kinds: ReadonlySet<ChannelKind> = new Set();
  #lastKeyspaceKey: Buffer | undefined;

  constructor(
    private readonly registry: SubscriptionRegistry,
    private readonly selfTest: SelfTest,
  ) {}

  /** Takes one message, with the channel or pattern by which it was subscribed to. */
  take(subscribed: string, channel: Buffer, message: Buffer): void {
    this.selfTest.hear(subscribed, message);
    this.registry.routeMessage(subscribed, channel, message);
    if (subscribed === this.registry.expiredChannel) {
      if (this.kinds.has('keyevent')) this.#takeKeyevent(message);
    } else if (
      message.length === EXPIRED.length &&
      this.kinds.has('keyspace') &&
      message.equals(EXPIRED)
    ) {
      const key = this.registry.routeKeyspaceExpiry(subscribed, channel);
      if (this.kinds.size > 1) this.#lastKeyspaceKey = key;
    }
  }

  /** Redis announces an expiry on the keyspace channel first and on the keyevent channel right after. */
  #takeKeyevent(key: Buffer): void {
    const announced = this.#lastKeyspaceKey;
    this.#lastKeyspaceKey = undefined;
    if (!announced?.equals(key)) this.registry.routeKeyeventExpiry(key);
  }
}
