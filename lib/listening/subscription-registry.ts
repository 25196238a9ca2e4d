import type { Expiry } from '../dispatch/expiry.js';
import { RedisGlob, escapeGlob } from '../dispatch/redis-glob.js';
import {
  type ChannelKind,
  keyeventChannel,
  keyOfMessage,
  keyspaceChannel,
} from './channels.js';
import { needsOfChannel } from './channel-needs.js';
import type { ExpiryTiming } from './deadline-keeper.js';
import type { NeededFlags } from './notification-flags.js';

/** Is told of every expiry of a key that matches a pattern. Must be quick, and must not throw. */
export type ExpirySink = (expiry: Expiry) => void;
/** Is given every message of the channels that a channel pattern names. */
export type MessageSink = (
  pattern: string,
  channel: string,
  message: string,
) => void;

/** What someone subscribed to: expiries of keys by a pattern, or the messages of channels. */
export type Interest =
  | { readonly pattern: string; readonly onExpiry: ExpirySink }
  | { readonly channelPattern: string; readonly onMessage: MessageSink };

/**
 * One life of a pattern: from the first interest in it to the end of the last one. A pattern that is
 * subscribed to again, after nobody was, is another object.
 */
export interface WantedPattern {
  /** As users wrote it. */
  readonly text: string;
  /** As Redis is asked for it, `keyPrefix` included. */
  readonly redisGlob: RedisGlob;
}

interface ExpiryPattern extends WantedPattern {
  /** Matches keys without their `keyPrefix`. */
  readonly glob: RedisGlob;
  readonly channel: string;
  readonly sinks: Set<ExpirySink>;
}

export interface RegistryOptions {
  readonly database: number;
  readonly keyPrefix: string;
  readonly namespace: string;
  /** Other events to listen for, of keys that match: hints of what became of their deadlines. */
  readonly hints: readonly string[];
  /** Classes of events that should be on for them, and do not have to be. */
  readonly wantedFlags: string;
}

/**
 * The subscriptions that are wanted, the same for every node; listeners make it so and feed it what
 * they hear. One pattern is one subscription at Redis, however many handlers it has.
 */
export class SubscriptionRegistry {
  readonly expiredChannel: string;
  /** The events that are listened for on keyevent channels, by channel. */
  readonly #eventOfChannel: ReadonlyMap<string, string>;
  readonly #hints: ReadonlySet<string>;
  readonly #expiries = new Map<string, ExpiryPattern>();
  readonly #expiryByChannel = new Map<string, ExpiryPattern>();
  readonly #messages = new Map<string, Set<MessageSink>>();
  readonly #prefix: Buffer;
  readonly #ownPrefix: Buffer;
  readonly #keyOffset: number;

  constructor(private readonly options: RegistryOptions) {
    const { database, keyPrefix, namespace } = options;
    this.expiredChannel = keyeventChannel(database, 'expired');
    this.#hints = new Set(options.hints);
    this.#eventOfChannel = new Map(
      ['expired', ...options.hints].map((event) => [
        keyeventChannel(database, event),
        event,
      ]),
    );
    this.#prefix = Buffer.from(keyPrefix);
    this.#ownPrefix = Buffer.from(`${keyPrefix}${namespace}:`);
    this.#keyOffset = keyspaceChannel(database, '').length;
  }

  /** Adds an interest. */
  add(interest: Interest): void {
    if ('onMessage' in interest) {
      const { channelPattern, onMessage } = interest;
      const sinks = this.#messages.get(channelPattern) ?? new Set();
      this.#messages.set(channelPattern, sinks.add(onMessage));
      return;
    }
    const { pattern, onExpiry } = interest;
    let entry = this.#expiries.get(pattern);
    if (!entry) {
      const { database, keyPrefix } = this.options;
      const redisPattern = escapeGlob(keyPrefix) + pattern;
      entry = {
        text: pattern,
        redisGlob: new RedisGlob(redisPattern),
        glob: new RedisGlob(pattern),
        channel: keyspaceChannel(database, redisPattern),
        sinks: new Set(),
      };
      this.#expiries.set(pattern, entry);
      this.#expiryByChannel.set(entry.channel, entry);
    }
    entry.sinks.add(onExpiry);
  }

  /** Takes an interest away; with the last one of a pattern its subscription ends. */
  remove(interest: Interest): void {
    if ('onMessage' in interest) {
      const sinks = this.#messages.get(interest.channelPattern);
      sinks?.delete(interest.onMessage);
      if (sinks?.size === 0) this.#messages.delete(interest.channelPattern);
      return;
    }
    const entry = this.#expiries.get(interest.pattern);
    if (!entry?.sinks.delete(interest.onExpiry) || entry.sinks.size > 0) return;
    this.#expiries.delete(interest.pattern);
    this.#expiryByChannel.delete(entry.channel);
  }

  /** Whether nobody is interested in anything. */
  get isEmpty(): boolean {
    return this.#expiries.size + this.#messages.size === 0;
  }

  /** The patterns of expiries that are subscribed to now. */
  wanted(): WantedPattern[] {
    return [...this.#expiries.values()];
  }

  /** The patterns of expiries as globs of Redis's, `keyPrefix` included. */
  redisPatterns(): string[] {
    return this.wanted().map(({ redisGlob }) => redisGlob.pattern);
  }

  /** What every key begins with that somebody asks for, `keyPrefix` included; none is another one's beginning. */
  keyPrefixes(): Buffer[] {
    const all = [...this.#expiries.values()]
      .map(({ glob }) => Buffer.concat([this.#prefix, glob.prefix]))
      .toSorted((a, b) => a.compare(b));
    const prefixes: Buffer[] = [];
    for (const prefix of all) {
      const shorter = prefixes.at(-1);
      if (!shorter || !startsWith(prefix, shorter)) prefixes.push(prefix);
    }
    return prefixes;
  }

  /** Whether there are events, besides expiries, that are listened for. */
  get wantsHints(): boolean {
    return this.#hints.size > 0;
  }

  /** Whether somebody asks for the expiry of a key. */
  matches(redisKey: Buffer): boolean {
    if (this.#isOwn(redisKey) || !startsWith(redisKey, this.#prefix))
      return false;
    const key = redisKey.subarray(this.#prefix.length);
    for (const { glob } of this.#expiries.values())
      if (glob.test(key)) return true;
    return false;
  }

  /** Every channel to subscribe to, with the texts under which users know it; none for one that only helps. */
  channels(kinds: ReadonlySet<ChannelKind>): Map<string, string[]> {
    const wanted = new Map<string, string[]>();
    const want = (channel: string, text?: string): void => {
      const texts = wanted.get(channel) ?? [];
      wanted.set(channel, texts);
      if (text !== undefined && !texts.includes(text)) texts.push(text);
    };
    if (this.#expiries.size > 0 && kinds.has('keyevent'))
      for (const channel of this.#eventOfChannel.keys()) want(channel);
    for (const [pattern, { channel }] of this.#expiries) {
      if (kinds.has('keyspace')) want(channel, pattern);
      if (kinds.has('keyevent')) want(this.expiredChannel, pattern);
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
    return { letters, anyFamily: true, wanted: [...wanted].join('') };
  }

  /** The event that a keyevent channel announces, if it is one that is listened for. */
  eventOfChannel(channel: string): string | undefined {
    return this.#eventOfChannel.get(channel);
  }

  isHint(event: string): boolean {
    return this.#hints.has(event);
  }

  /** The key that a keyspace channel names, if an expiry pattern is subscribed to by it. */
  keyOf(subscribed: string, channel: Buffer): Buffer | undefined {
    if (!this.#expiryByChannel.has(subscribed)) return undefined;
    const redisKey = channel.subarray(this.#keyOffset);
    return this.#isOwn(redisKey) ? undefined : redisKey;
  }

  /** Hands an expiry, heard on a keyspace channel, to whoever subscribed by it. */
  routeKeyspaceExpiry(
    subscribed: string,
    redisKey: Buffer,
    timing: ExpiryTiming | undefined,
  ): void {
    const entry = this.#expiryByChannel.get(subscribed);
    if (entry) this.#deliver(entry, redisKey, timing);
  }

  /** Hands an expiry, heard on the keyevent channel, to every pattern that the key matches. */
  routeKeyeventExpiry(
    redisKey: Buffer,
    timing: ExpiryTiming | undefined,
  ): void {
    const key = redisKey.subarray(this.#prefix.length);
    for (const entry of this.#expiries.values())
      if (entry.glob.test(key)) this.#deliver(entry, redisKey, timing);
  }

  /** Hands a message to whoever subscribed to its channel pattern by `psubscribe`. */
  routeMessage(subscribed: string, channel: Buffer, message: Buffer): void {
    const sinks = this.#messages.get(subscribed);
    if (!sinks || this.#isOwn(keyOfMessage(channel, message))) return;
    const [channelText, text] = [channel.toString(), message.toString()];
    for (const sink of sinks) sink(subscribed, channelText, text);
  }

  #deliver(
    entry: ExpiryPattern,
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
    for (const sink of entry.sinks) sink(expiry);
  }

  /** Keys of the module itself, which no pattern of a user's may match. */
  #isOwn(redisKey: Buffer): boolean {
    return startsWith(redisKey, this.#ownPrefix);
  }
}

const startsWith = (key: Buffer, prefix: Buffer): boolean =>
  key.length >= prefix.length &&
  key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
