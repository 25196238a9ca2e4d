import type { ChannelFamily } from './channels.js';
import type { DeadlineKeeper, ExpiryAnswer } from './deadline-keeper.js';
import type { SubscriptionRegistry } from './subscription-registry.js';
import type { ExpiryPattern } from './interests.js';

/** Hears a session's messages beside everybody else, with the name by which each was subscribed to. */
export type TestHearing = (subscribed: string, message: Buffer) => void;

/** An expiry that was heard on a keyspace channel. */
interface Heard {
  readonly key: Buffer;
  readonly answer: ExpiryAnswer;
  /** The first pattern that it was announced for. */
  readonly first: ExpiryPattern;
}

/**
 * Sorts what one session hears: expiries, hints of keys that may have a new deadline, and messages
 * that users subscribed to. `SessionChannels` makes it for its session and tells it the family of
 * channels; `ListenerSession` gives it the messages. It runs in the socket's callback: a message is
 * one lookup and one call.
 *
 * States:
 * - *undecided* (at first, and where nothing tells which families are on): expiries count on either
 *   family, until the first event on a keyspace channel. Redis sends that one first, so it shows that
 *   keyspace channels are on before the same event can count by keyevent.
 * - *decided* (by that event, or by `listenOn`): expiries and hints count on one family, and what comes
 *   on the other is ignored.
 *
 * Guarantees: an expiry is handed on once to each pattern that matches, whatever is subscribed to.
 */
export class MessageRouter {
  #family: ChannelFamily | undefined;
  /** The newest expiry heard on a keyspace channel: it may follow for another pattern. */
  #last: Heard | undefined;
  #hearTest: TestHearing | undefined;

  constructor(
    private readonly registry: SubscriptionRegistry,
    private readonly deadlines: DeadlineKeeper | undefined,
  ) {}

  /** The family on which expiries count; undefined while that is undecided. */
  get family(): ChannelFamily | undefined {
    return this.#family;
  }

  /** From the next message on, expiries count on this family; undefined: on whichever they are heard. */
  listenOn(family: ChannelFamily | undefined): void {
    if (family === this.#family) return;
    this.#family = family;
    this.#last = undefined;
  }

  /** Has a self-test hear every message while its work is under way. */
  async whileTesting<T>(hear: TestHearing, work: () => Promise<T>): Promise<T> {
    this.#hearTest = hear;
    try {
      return await work();
    } finally {
      this.#hearTest = undefined;
    }
  }

  /** Takes one message, with the channel or pattern by which it was subscribed to. */
  take(subscribed: string, channel: Buffer, message: Buffer): void {
    this.#hearTest?.(subscribed, message);
    const meaning = this.registry.meaningOf(subscribed);
    if (!meaning) return;
    const { sinks, event, pattern } = meaning;
    if (sinks) this.registry.handOn(sinks, subscribed, channel, message);
    if (event !== undefined) this.#takeKeyevent(event, message);
    else if (pattern) this.#takeKeyspace(pattern, channel, message);
  }

  /** Takes keys that changed in some way, where they are tracked. */
  takeChanged(keys: readonly Buffer[]): void {
    for (const key of keys)
      if (this.registry.matches(key)) this.deadlines?.changed(key);
  }

  #takeKeyspace(
    pattern: ExpiryPattern,
    channel: Buffer,
    message: Buffer,
  ): void {
    if (this.#family === 'keyevent') return;
    this.#family = 'keyspace';
    const key = this.registry.keyOf(channel);
    if (!key) return;
    const event = message.toString('latin1');
    if (event !== 'expired') {
      this.#last = undefined;
      if (this.registry.isHint(event)) this.deadlines?.hint(event, key);
      return;
    }
    // Redis goes through the patterns once for each expiry, in the same order.
    if (this.#last?.first === pattern || !this.#last?.key.equals(key)) {
      const answer = this.deadlines?.expired(key);
      this.#last = { key, answer, first: pattern };
    }
    const { answer } = this.#last;
    if (answer !== 'repeat') this.registry.deliver(pattern, key, answer);
  }

  #takeKeyevent(event: string, key: Buffer): void {
    if (this.#family === 'keyspace' || !this.registry.matches(key)) return;
    if (event !== 'expired') {
      this.deadlines?.hint(event, key);
      return;
    }
    const answer = this.deadlines?.expired(key);
    if (answer !== 'repeat') this.registry.deliverToAll(key, answer);
  }
}
