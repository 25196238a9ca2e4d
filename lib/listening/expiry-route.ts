import type { ChannelKind } from './channels.js';
import type { ExpiryTiming, DeadlineKeeper } from './deadline-keeper.js';
import type { SelfTest } from './self-test.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/** An expiry that was heard on a keyspace channel. */
interface Heard {
  readonly key: Buffer;
  readonly timing: ExpiryTiming | 'repeat' | undefined;
  /** The first pattern that it was announced for. */
  readonly first: string;
}

/**
 * Sorts what one node's connection hears: expiries, hints of keys that may have a new deadline,
 * other messages that users subscribed to, and the self-test's. Runs in the socket's callback: O(1)
 * for a keyspace message.
 */
export class ExpiryRoute {
  #kinds: ReadonlySet<ChannelKind> = new Set();
  /** The newest expiry heard on a keyspace channel: the same may follow for another pattern, or by keyevent. */
  #last: Heard | undefined;

  constructor(
    private readonly registry: SubscriptionRegistry,
    private readonly selfTest: SelfTest,
    private readonly deadlines: DeadlineKeeper | undefined,
  ) {}

  /** The families on which expiries are listened for. On both, an expiry is still handed on once. */
  get kinds(): ReadonlySet<ChannelKind> {
    return this.#kinds;
  }

  set kinds(kinds: ReadonlySet<ChannelKind>) {
    // Set anew at every look: what is half heard is kept unless something changes.
    if (![...this.#kinds].every((kind) => kinds.has(kind)))
      this.#last = undefined;
    this.#kinds = kinds;
  }

  /** What comes from here on is heard on another connection. */
  restart(): void {
    this.#last = undefined;
  }

  /** Takes one message, with the channel or pattern by which it was subscribed to. */
  take(subscribed: string, channel: Buffer, message: Buffer): void {
    this.selfTest.hear(subscribed, message);
    this.registry.routeMessage(subscribed, channel, message);
    const event = this.registry.eventOfChannel(subscribed);
    if (event === undefined) {
      if (this.kinds.has('keyspace'))
        this.#takeKeyspace(subscribed, channel, message);
    } else if (this.kinds.has('keyevent') && this.registry.matches(message))
      this.#takeKeyevent(event, message);
  }

  /** Takes keys that changed in some way, where they are tracked. */
  takeChanged(keys: readonly Buffer[]): void {
    for (const key of keys)
      if (this.registry.matches(key)) this.deadlines?.changed(key);
  }

  #takeKeyspace(subscribed: string, channel: Buffer, message: Buffer): void {
    const key = this.registry.keyOf(subscribed, channel);
    if (!key) return;
    const event = message.toString('latin1');
    if (event === 'expired') {
      // Redis goes through the patterns once for each expiry, in the same order.
      if (this.#last?.first === subscribed || !this.#last?.key.equals(key)) {
        const timing = this.deadlines?.expired(key);
        this.#last = { key, timing, first: subscribed };
      }
      const { timing } = this.#last;
      if (timing !== 'repeat')
        this.registry.routeKeyspaceExpiry(subscribed, key, timing);
      return;
    }
    this.#last = undefined;
    if (this.registry.isHint(event)) this.deadlines?.hint(event, key);
  }

  #takeKeyevent(event: string, key: Buffer): void {
    if (event !== 'expired') {
      this.deadlines?.hint(event, key);
      return;
    }
    // Redis announces it on the keyspace channel first and on the keyevent channel right after.
    const known = this.#last?.key.equals(key);
    this.#last = undefined;
    if (known) return;
    const timing = this.deadlines?.expired(key);
    if (timing !== 'repeat') this.registry.routeKeyeventExpiry(key, timing);
  }
}
