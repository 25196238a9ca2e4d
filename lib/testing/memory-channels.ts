import { RedisGlob } from '../dispatch/redis-glob.js';
import type { ExpirySubscription } from '../engine/status.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { keyeventChannel, keyspaceChannel } from '../listening/channels.js';
import type { Log } from '../util/log.js';

/** A handler of `psubscribe`. */
export type ChannelHandler = (
  pattern: string,
  channel: string,
  message: string,
) => unknown;

/** The channels on which the test kit announces expiries, for those who subscribed by `psubscribe`. Each `MemoryEngine` has them. */
export class MemoryChannels {
  readonly #subscribers = new Set<(channel: string, message: string) => void>();

  constructor(private readonly log: Log) {}

  /** Calls the handler for each message of channels that match; what it throws is logged. */
  subscribe(pattern: string, handler: ChannelHandler): ExpirySubscription {
    const glob = new RedisGlob(pattern);
    const fail = (error: unknown): void =>
      this.log.error(
        `The handler of channel pattern ${JSON.stringify(pattern)} failed: ${reasonOf(error)}`,
      );
    const hear = (channel: string, message: string): void => {
      if (!glob.test(Buffer.from(channel))) return;
      try {
        Promise.resolve(handler(pattern, channel, message)).catch(fail);
      } catch (error) {
        fail(error);
      }
    };
    this.#subscribers.add(hear);
    return {
      pattern,
      unsubscribe: () => {
        this.#subscribers.delete(hear);
        return Promise.resolve();
      },
    };
  }

  /** A key expired; its name has the `keyPrefix`. */
  announce(database: number, name: string): void {
    for (const hear of this.#subscribers) {
      hear(keyspaceChannel(database, name), 'expired');
      hear(keyeventChannel(database, 'expired'), name);
    }
  }
}
