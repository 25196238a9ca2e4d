import type { Redis } from 'ioredis';
import { isReplyError } from '../connection/server-error.js';
import { connect } from './connecting.js';
import type { CheckContext, DoctorNode } from './context.js';

/** An event about one of the doctor's own keys. */
export interface Heard {
  readonly key: string;
  readonly event: string;
  /** K: on the key's channel. E: on the event's. */
  readonly family: 'K' | 'E';
  /** By `performance.now()`. */
  readonly at: number;
}

/**
 * Hears what a server announces of some keys of the doctor's own, by a connection of its own.
 *
 * States: listening (once `open` has resolved) → closed, by `close`.
 */
export class Hearing {
  readonly #keys: ReadonlySet<string>;

  private constructor(
    private readonly redis: Redis,
    keys: readonly string[],
    /** The families of channels that the user may listen on. */
    readonly families: readonly ('K' | 'E')[],
    private readonly database: number,
    onHeard: (heard: Heard) => void,
  ) {
    this.#keys = new Set(keys);
    redis.on('message', (channel: string, message: string) => {
      const at = performance.now();
      const heard = this.#read(channel, message, at);
      if (heard && this.#keys.has(heard.key)) onHeard(heard);
    });
  }

  /** Subscribes by exact names, which an ACL that grants a glob of channels allows. */
  static async open(
    node: DoctorNode,
    { database }: CheckContext,
    keys: readonly string[],
    onHeard: (heard: Heard) => void,
  ): Promise<Hearing> {
    const redis = await connect(node.url);
    const tries = {
      K: keys.map((key) => `__keyspace@${database}__:${key}`),
      E: [`__keyevent@${database}__:expired`],
    };
    const families: ('K' | 'E')[] = [];
    try {
      for (const family of ['K', 'E'] as const)
        if (await mayHear(redis, tries[family])) families.push(family);
      return new Hearing(redis, keys, families, database, onHeard);
    } catch (error) {
      redis.disconnect();
      throw error;
    }
  }

  close(): void {
    this.redis.disconnect();
  }

  #read(channel: string, message: string, at: number): Heard | undefined {
    const keyspace = `__keyspace@${this.database}__:`;
    if (channel.startsWith(keyspace)) {
      const key = channel.slice(keyspace.length);
      return { key, event: message, family: 'K', at };
    }
    return { key: message, event: 'expired', family: 'E', at };
  }
}

async function mayHear(redis: Redis, channels: string[]): Promise<boolean> {
  try {
    await redis.subscribe(...channels);
    return true;
  } catch (error) {
    if (isReplyError(error)) return false;
    throw error;
  }
}
