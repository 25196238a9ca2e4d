import type { Expiry } from '../dispatch/expiry.js';
import { RedisGlob, escapeGlob } from '../dispatch/redis-glob.js';
import {
  type ChannelFamily,
  keyeventChannel,
  keyOfMessage,
  keyspaceChannel,
} from './channels.js';
import { needsOfChannel } from './channel-needs.js';
import type {
  ChannelMeaning,
  ExpiryPattern,
  Interest,
  MessageSink,
  WantedPattern,
} from './interests.js';
import { shortest, startsWith } from './key-prefixes.js';
import type { ExpiryTiming } from './deadline-keeper.js';
import type { NeededFlags } from './notification-flags.js';
import { WarningPatterns } from './warning-patterns.js';
import { WantedValues } from './wanted-values.js';

export interface RegistryOptions {
  readonly database: number;
  readonly keyPrefix: string;
  readonly namespace: string;
  /** Other events to listen for, of keys that match: hints of what became of their deadlines. */
  readonly hints: readonly string[];
  /** Classes of events that should be on for them, and do not have to be. */
  readonly wantedFlags: string;
}

/** The event of a key that is given a new deadline: of each heartbeat. */
const RENEWAL = 'expire';

/**
 * The subscriptions that are wanted, the same for every node. Listeners make it so, and ask it what a
 * message means. One pattern is one subscription at Redis, however many handlers it has.
 *
 * `meaningOf` is one lookup: what a subscription means is worked out when an interest is added or removed.
 */
export class SubscriptionRegistry {
  readonly expiredChannel: string;
  /** Who asked to be warned. */
  readonly warnings: WarningPatterns<ExpiryPattern>;
  /** Of which keys the values are asked for. */
  readonly values = new WantedValues();
  /** The keyevent channels of the events that are listened for, and those without that of renewals. */
  readonly #keyeventChannels: readonly string[];
  readonly #withoutRenewals: readonly string[];
  readonly #hints: ReadonlySet<string>;
  readonly #expiries = new Map<string, ExpiryPattern>();
  readonly #messages = new Map<string, Set<MessageSink>>();
  /** By the name under which a channel is subscribed to. */
  readonly #meanings = new Map<string, ChannelMeaning>();
  readonly #prefix: Buffer;
  readonly #ownPrefix: Buffer;
  readonly #keyOffset: number;

  constructor(private readonly options: RegistryOptions) {
    const { database, keyPrefix, namespace } = options;
    this.expiredChannel = keyeventChannel(database, 'expired');
    this.#hints = new Set(options.hints);
    const events = ['expired', ...options.hints];
    this.#keyeventChannels = events.map((e) => keyeventChannel(database, e));
    this.#withoutRenewals = this.#keyeventChannels.filter(
      (_, i) => events[i] !== RENEWAL,
    );
    for (const [i, channel] of this.#keyeventChannels.entries())
      this.#mean(channel, { event: events[i]! });
    this.#prefix = Buffer.from(keyPrefix);
    this.#ownPrefix = Buffer.from(`${keyPrefix}${namespace}:`);
    this.#keyOffset = keyspaceChannel(database, '').length;
    this.warnings = new WarningPatterns(
      (pattern) => this.#newPattern(pattern),
      ...([database, this.#prefix.length] as const),
    );
  }

  /** Adds an interest. */
  add(interest: Interest): void {
    if ('onMessage' in interest) {
      const { channelPattern, onMessage } = interest;
      const sinks = this.#messages.get(channelPattern) ?? new Set();
      this.#messages.set(channelPattern, sinks.add(onMessage));
      this.#mean(channelPattern, { sinks });
      return;
    }
    const { pattern } = interest;
    if ('onWarning' in interest) this.warnings.add(interest);
    else {
      const entry = this.#expiries.get(pattern) ?? this.#newPattern(pattern);
      this.#expiries.set(pattern, entry);
      const { onExpiry, values } = interest;
      entry.sinks.add(onExpiry);
      if (values) this.values.add(entry.redisGlob, onExpiry, values);
    }
    this.#listenFor(pattern);
  }

  /** Takes an interest away; with the last one of a pattern its subscription ends. */
  remove(interest: Interest): void {
    if ('onMessage' in interest) {
      const { channelPattern, onMessage } = interest;
      const sinks = this.#messages.get(channelPattern);
      if (!sinks?.delete(onMessage) || sinks.size > 0) return;
      this.#messages.delete(channelPattern);
      this.#mean(channelPattern, { sinks: undefined });
      return;
    }
    const { pattern } = interest;
    const entry = this.#expiries.get(pattern);
    if ('onWarning' in interest) this.warnings.remove(interest);
    else if (entry?.sinks.delete(interest.onExpiry)) {
      this.values.remove(entry.redisGlob, interest.onExpiry);
      if (entry.sinks.size === 0) this.#expiries.delete(pattern);
    }
    this.#listenFor(pattern);
  }

  #newPattern(pattern: string): ExpiryPattern {
    const { database, keyPrefix } = this.options;
    const redisPattern = escapeGlob(keyPrefix) + pattern;
    return {
      text: pattern,
      redisGlob: new RedisGlob(redisPattern),
      channel: keyspaceChannel(database, redisPattern),
      sinks: new Set(),
    };
  }

  /** Knows what the channel of a pattern means that somebody asks for, and forgets that of another one. */
  #listenFor(pattern: string): void {
    const heard = this.#heard().get(pattern);
    const { channel } = heard ?? this.#newPattern(pattern);
    this.#mean(channel, { pattern: heard });
  }

  /** The patterns that keys are listened to by, each once. */
  #heard(): Map<string, ExpiryPattern> {
    const warned = this.warnings.wanted();
    return new Map([
      ...warned.map((each): [string, ExpiryPattern] => [each.text, each]),
      ...this.#expiries,
    ]);
  }

  /** Whether nobody is interested in anything. */
  get isEmpty(): boolean {
    const { size } = this.#expiries;
    return size + this.#messages.size === 0 && this.warnings.isEmpty;
  }

  /** The patterns that are subscribed to now: one for expiries, and one for each `before` of warnings. */
  wanted(): WantedPattern[] {
    return [...this.#expiries.values(), ...this.warnings.wanted()];
  }

  /** The patterns as globs of Redis's, `keyPrefix` included. */
  redisPatterns(): string[] {
    return [...this.#heard().values()].map(
      ({ redisGlob }) => redisGlob.pattern,
    );
  }

  /** What every key begins with that somebody asks for, `keyPrefix` included; none is another one's beginning. */
  keyPrefixes(): Buffer[] {
    return shortest(this.wanted().map(({ redisGlob }) => redisGlob.prefix));
  }

  /** Whether there are events, besides expiries, that are listened for. */
  get wantsHints(): boolean {
    return this.#hints.size > 0;
  }

  /** Whether somebody asks for the expiry of a key, or for warnings of it. */
  matches(redisKey: Buffer): boolean {
    return this.expires(redisKey) || this.warns(redisKey);
  }

  /** Whether somebody asks for the expiry of a key. */
  expires(redisKey: Buffer): boolean {
    if (this.#isOwn(redisKey)) return false;
    for (const { redisGlob } of this.#expiries.values())
      if (redisGlob.test(redisKey)) return true;
    return false;
  }

  /** Whether somebody asks for warnings of a key; so many ms before its deadline, if that is given. */
  warns(redisKey: Buffer, before?: number): boolean {
    return !this.#isOwn(redisKey) && this.warnings.wants(redisKey, before);
  }

  /**
   * Every channel to subscribe to where these families are listened on, with the texts under which
   * users know it: none for one that only helps. Without `renewals`, the keyevent channel is left out
   * that tells of each key which is given a new deadline; a keyspace channel cannot leave that out.
   */
  channels(
    families: readonly ChannelFamily[],
    { renewals }: { readonly renewals: boolean } = { renewals: true },
  ): Map<string, string[]> {
    const wanted = new Map<string, string[]>();
    const want = (channel: string, text?: string): void => {
      const texts = wanted.get(channel) ?? [];
      wanted.set(channel, texts);
      if (text !== undefined && !texts.includes(text)) texts.push(text);
    };
    const byEvent = families.includes('keyevent');
    const keyevent = renewals ? this.#keyeventChannels : this.#withoutRenewals;
    const heard = this.#heard();
    if (heard.size > 0 && byEvent)
      for (const channel of keyevent) want(channel);
    for (const [pattern, { channel }] of heard) {
      if (families.includes('keyspace')) want(channel, pattern);
      if (byEvent) want(this.expiredChannel, pattern);
    }
    for (const channel of this.#messages.keys()) want(channel, channel);
    return wanted;
  }

  /** The flags without which some subscription would hear nothing. */
  neededFlags(): NeededFlags {
    // Without any handler too: one that comes later must not find the flags missing.
    const letters = new Set('x');
    const wanted = new Set(this.options.wantedFlags);
    for (const channel of this.#messages.keys()) {
      const needs = needsOfChannel(channel);
      for (const letter of needs?.letters ?? '') letters.add(letter);
      for (const letter of needs?.wanted ?? '') wanted.add(letter);
    }
    return { letters, wanted: [...wanted].join('') };
  }

  /** What a message means that came by a subscription; undefined if nobody wants it any more. */
  meaningOf(subscribed: string): ChannelMeaning | undefined {
    return this.#meanings.get(subscribed);
  }

  isHint(event: string): boolean {
    return this.#hints.has(event);
  }

  /** The key that a keyspace channel names; undefined for the module's own. */
  keyOf(channel: Buffer): Buffer | undefined {
    const redisKey = channel.subarray(this.#keyOffset);
    return this.#isOwn(redisKey) ? undefined : redisKey;
  }

  /** Hands an expiry to whoever asked for it by one pattern. */
  deliver(
    { sinks }: ExpiryPattern,
    redisKey: Buffer,
    timing: ExpiryTiming | undefined,
  ): void {
    const expiry: Expiry = {
      ...timing,
      redisKey,
      key: redisKey.subarray(this.#prefix.length),
      database: this.options.database,
      source: 'notification',
    };
    for (const sink of sinks) sink(expiry);
  }

  /** Hands an expiry to whoever asked for it by any pattern. */
  deliverToAll(redisKey: Buffer, timing: ExpiryTiming | undefined): void {
    for (const entry of this.#expiries.values())
      if (entry.redisGlob.test(redisKey)) this.deliver(entry, redisKey, timing);
  }

  /** Hands a message to whoever subscribed to its channel pattern by `psubscribe`. */
  handOn(
    sinks: ReadonlySet<MessageSink>,
    subscribed: string,
    channel: Buffer,
    message: Buffer,
  ): void {
    if (this.#isOwn(keyOfMessage(channel, message))) return;
    const [channelText, text] = [channel.toString(), message.toString()];
    for (const sink of sinks) sink(subscribed, channelText, text);
  }

  /** Changes a part of what a subscription means; one that means nothing any more is forgotten. */
  #mean(subscribed: string, part: ChannelMeaning): void {
    const meaning = { ...this.#meanings.get(subscribed), ...part };
    const { pattern, event, sinks } = meaning;
    if (pattern || event !== undefined || sinks)
      this.#meanings.set(subscribed, meaning);
    else this.#meanings.delete(subscribed);
  }

  /** Keys of the module itself, which no pattern of a user's may match. */
  #isOwn(redisKey: Buffer): boolean {
    return startsWith(redisKey, this.#ownPrefix);
  }
}
