import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import {
  isForbidden,
  isUnknownScript,
  refusedCommand,
} from './server-error.js';

type Word = string | number | Buffer;

/** Clients whose ACL user may run scripts by their text only. */
const byTextOnly = new WeakSet<Redis>();

/**
 * A Lua script. Redis is sent its digest, and its text only where it does not know it: to read the
 * text again, and to compute its digest, would cost it more than many a script does.
 */
export class Script {
  readonly #digest: string;

  constructor(readonly text: string) {
    this.#digest = createHash('sha1').update(text).digest('hex');
  }

  /** Resolves with the reply; its strings are texts. Rejects as the server does. */
  run(
    redis: Redis,
    keys: readonly Word[],
    ...args: readonly Word[]
  ): Promise<unknown> {
    return this.#send(redis, 'call', [keys.length, ...keys, ...args]);
  }

  /** The same; the reply's strings are Buffers. */
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
