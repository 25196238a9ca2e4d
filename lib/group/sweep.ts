import type { Commands } from '../connection/commands.js';
import { isReplyError } from '../connection/server-error.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import { type Evidence, toText } from './evidence.js';
import {
  type RedisIndex,
  type SweepRequest,
  isRefused,
} from './redis-index.js';

export interface SweepOptions {
  readonly index: RedisIndex;
  /** The connection to the server whose keys are looked at, and which holds the index. */
  readonly commands: Commands;
  readonly clock: RedisClock;
  readonly evidence: Evidence;
  readonly counters: ExpiryCounters;
  /** As of `JudgeOptions`. */
  readonly barrier: () => Promise<void>;
  readonly onSettled: (keys: string[]) => void;
  readonly onLater: (soonest: number) => void;
}

/** A request, and what was known of its keys when it was made. */
interface Asked extends SweepRequest {
  readonly texts: readonly string[];
  readonly announced: readonly number[];
  readonly generation: number;
}

/**
 * Looks at keys and settles them in one step, where their server holds the group's index too, and
 * was listened to all the while: then each key is alive, or expired, or deleted.
 *
 * Guarantees: one expiry is appended once, also where an answer is lost: the request is sent again
 * before another one, and Redis does it once. A key counts as deleted only after all announcements
 * up to the look that found it gone were heard.
 */
export class Sweep {
  /** A request to which no answer came. */
  #unanswered: Asked | undefined;

  constructor(private readonly options: SweepOptions) {}

  /** To be called before `look`: connects, and asks again what was not answered. */
  async prepare(): Promise<void> {
    const { commands } = this.options;
    // What is sent while it connects would be done at some later time.
    if (!commands.connected)
      await commands.runNow((redis) =>
        redis.ping().catch((error: unknown) => {
          // To be refused is an answer: a server that cannot save to disk refuses PING, too.
          if (!isReplyError(error)) throw error;
        }),
      );
    const asked = this.#unanswered;
    if (!asked) return;
    // What it went by is forgotten. Whether it was done shows in the index, if it is not done later.
    if (!this.#isFresh(asked)) await this.#send(this.#ask([], '-'));
    // If it was not done, those that were gone may be anything by now.
    else
      await this.#send({ ...asked, known: asked.known.replaceAll('d', '-') });
  }

  /** Rejects, with everything still to be looked at, where a connection or the lease was lost. */
  async look(keys: readonly Buffer[]): Promise<void> {
    const { evidence, barrier } = this.options;
    const { generation } = evidence;
    const unsure = await this.find(keys);
    if (unsure.length === 0) return;
    await barrier();
    if (generation !== evidence.generation)
      throw new Error('listening was lost');
    await this.settleGone(unsure);
  }

  /** Settles what can be at once. Resolves with the keys that are gone, and of which nothing tells why. */
  find(keys: readonly Buffer[]): Promise<Buffer[]> {
    return this.#send(this.#ask(keys, '-'));
  }

  /** Settles keys that `find` resolved with, after a barrier: what was not announced by then was deleted. */
  async settleGone(keys: readonly Buffer[]): Promise<void> {
    await this.#send(this.#ask(keys, 'd'));
  }

  /** `unannounced`: what to say of keys whose expiry was not announced. */
  #ask(keys: readonly Buffer[], unannounced: '-' | 'd'): Asked {
    const { index, evidence } = this.options;
    const texts = keys.map(toText);
    const known = texts.map((text) =>
      evidence.isProven(text) ? 'e' : unannounced,
    );
    return {
      ...index.sweepRequest(keys, known.join('')),
      texts,
      announced: texts.map((text) => evidence.announced(text)),
      generation: evidence.generation,
    };
  }

  /** Resolves with the keys that are gone, and of which nothing tells why. */
  async #send(asked: Asked): Promise<Buffer[]> {
    const { index, commands, clock, onSettled, onLater } = this.options;
    if (!commands.connected) throw new Error('there is no connection');
    const again = this.#unanswered !== undefined;
    this.#unanswered = asked;
    const sent = clock.mark();
    const { now, soonest, codes } = await index
      .sweep(commands, asked)
      .catch((error: unknown) => {
        // Nothing was done. Another error need not be the answer to this: a connection is dropped with what ended it.
        if (isRefused(error, again)) this.#unanswered = undefined;
        throw error;
      });
    this.#unanswered = undefined;
    // What is told again may be of a while ago.
    if (!again) clock.read(now, sent);
    if (!this.#isFresh(asked)) throw new Error('listening was lost');
    onSettled(asked.texts.filter((_, i) => this.#note(asked, i, codes[i]!)));
    if (soonest !== undefined) onLater(soonest);
    return asked.keys.filter((_, i) => codes[i] === '?');
  }

  /** Whether all that was announced of a key was taken into account. */
  #note({ texts, announced }: Asked, i: number, code: string): boolean {
    const { evidence, counters } = this.options;
    const text = texts[i]!;
    let spent = announced[i]!;
    const lapsedBefore = spent > 0 || evidence.wasRemoved(text);
    if (lapsedBefore && (code === 'a' || code === 'r')) {
      // It was written again before anybody could look.
      counters.received++;
      counters.superseded++;
    }
    if (code === 'r') {
      // Its own announcement may have come meanwhile.
      if (evidence.announced(text) > spent) spent++;
      else evidence.expect(text);
    }
    return evidence.settle(text, spent);
  }

  /** Whether what was known when it was asked still counts. */
  #isFresh({ generation }: Asked): boolean {
    return generation === this.options.evidence.generation;
  }
}
