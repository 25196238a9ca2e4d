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
  #arriving: Script | undefined;

  /** @param isAsking whether it is asked for keys that are on their way to the server, too: see `arriving` */
  constructor(
    readonly text: string,
    private readonly isAsking = false,
  ) {
    this.#digest = createHash('sha1').update(text).digest('hex');
  }

  /** The same script for a node of a Cluster, which then serves keys, too, whose slot is on its way to it. */
  get arriving(): Script {
    return (this.#arriving ??= new Script(this.text, true));
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
        this.#ask(redis);
        return await redis[call]('EVALSHA', this.#digest, ...words);
      } catch (error) {
        const mayNot =
          isForbidden(error) && refusedCommand(error) === 'evalsha';
        if (mayNot) byTextOnly.add(redis);
        else if (!isUnknownScript(error)) throw error;
      }
    }
    this.#ask(redis);
    return redis[call]('EVAL', this.text, ...words);
  }

  /** Sent in one go with what follows: the permission is for one command. */
  #ask(redis: Redis): void {
    if (this.isAsking) redis.asking().catch(() => undefined);
  }
}
