import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import {
  isForbidden,
  isUnknownScript,
  refusedCommand,
} from './server-error.js';

type Word = string | number | Buffer;

/** Clients whose ACL user may not use EVALSHA, and so runs scripts by their text. */
const byTextOnly = new WeakSet<Redis>();

/**
 * A Lua script; each file of `scripts/` makes one. Redis is sent the script's digest, and the text only
 * where the server does not have it: reading the text and computing its digest would cost the server more
 * than many a script does.
 */
export class Script {
  readonly #digest: string;

  constructor(readonly text: string) {
    this.#digest = createHash('sha1').update(text).digest('hex');
  }

  /** Runs the script. Resolves with the reply, whose strings are texts; rejects with the server's error. */
  run(
    redis: Redis,
    keys: readonly Word[],
    ...args: readonly Word[]
  ): Promise<unknown> {
    return this.#send(redis, 'call', [keys.length, ...keys, ...args]);
  }

  /** Runs the script. Resolves with the reply, whose strings are Buffers; rejects with the server's error. */
  runBuffers(
    redis: Redis,
    keys: readonly Word[],
    ...args: readonly Word[]
  ): Promise<unknown> {
    return this.#send(redis, 'callBuffer', [keys.length, ...keys, ...args]);
  }

  async #send(
    redis: Redis,
    call: 'call' | 'callBuffer',
    words: readonly Word[],
  ): Promise<unknown> {
    if (!byTextOnly.has(redis)) {
      try {
        return await redis[call]('EVALSHA', this.#digest, ...words);
      } catch (error) {
        const mayNot =
          isForbidden(error) && refusedCommand(error) === 'evalsha';
        if (mayNot) byTextOnly.add(redis);
        else if (!isUnknownScript(error)) throw error;
      }
    }
    return redis[call]('EVAL', this.text, ...words);
  }
}
