import type { ValueKinds } from '../dispatch/event-value.js';
import type { Expiry } from '../dispatch/expiry.js';
import type { RedisGlob } from '../dispatch/redis-glob.js';

/** Is told of every expiry of a key that matches a pattern. Must be quick, and must not throw. */
export type ExpirySink = (expiry: Expiry) => void;
/** Is given every message of the channels that a channel pattern names. */
export type MessageSink = (
  pattern: string,
  channel: string,
  message: string,
) => void;

/** Somebody who is to be told of keys by a pattern, so many ms before they run out. */
export interface WarningInterest {
  readonly pattern: string;
  readonly before: number;
  readonly onWarning: ExpirySink;
  /** In which types of keys values are asked for, if at all. */
  readonly values?: ValueKinds | undefined;
}

/** What someone subscribed to: expiries or warnings of keys by a pattern, or the messages of channels. */
export type Interest =
  | WarningInterest
  | {
      readonly pattern: string;
      readonly onExpiry: ExpirySink;
      /** In which types of keys values are asked for, if at all. */
      readonly values?: ValueKinds | undefined;
    }
  | { readonly channelPattern: string; readonly onMessage: MessageSink };

/** What a handler of a pattern is interested in: in warnings, so many ms before the deadline, or else in expiries. */
export const interestOf = (
  pattern: string,
  before: number | undefined,
  tell: ExpirySink,
  values?: ValueKinds,
): Interest =>
  before === undefined
    ? { pattern, onExpiry: tell, values }
    : { pattern, before, onWarning: tell, values };

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

/** A pattern of expiries, and who is told of them: nobody, where warnings alone are asked for. */
export interface ExpiryPattern extends WantedPattern {
  readonly channel: string;
  readonly sinks: Set<ExpirySink>;
}

/** What the messages of one subscription mean. */
export interface ChannelMeaning {
  /** The keys' events are announced by a keyspace channel, which somebody asked for by this pattern. */
  readonly pattern?: ExpiryPattern | undefined;
  /** Keys to which this happened are announced by a keyevent channel. */
  readonly event?: string;
  /** Who is given the messages as they are. */
  readonly sinks?: ReadonlySet<MessageSink> | undefined;
}
