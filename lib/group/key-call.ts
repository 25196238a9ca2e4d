import {
  isReplyError,
  isTriedAgain,
  isTriedAgainText,
} from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { ArmingPlace, ArmingPlaces } from './arming-places.js';
import {
  type KeyAnswer,
  type KeyScript,
  type KeyWrite,
  runKeyScript,
} from './key-writes.js';

/** Keys that one script writes: some hundreds of microseconds of the server's time. */
const CHUNK = 100;

/**
 * One call to write some keys: each of them is written once, where it is. `ArmedKeys` makes one, and runs `round`
 * until nothing is open any more.
 *
 * Guarantees: what a server may have done is not sent again: `round` rejects with `CONNECTION_LOST` then. What it
 * refused because the keys are elsewhere, or because it is not ready, stays open, and so does what no connection
 * was there for.
 */
export class KeyCall<T extends KeyWrite> {
  /** What the script says of each key. */
  readonly said: string[];
  /** The first error by which a server refused a key. */
  refusal: string | undefined;
  /** Why something is open still, where that is known. */
  reason: string | undefined;
  #open: number[];
  /** Where keys turned out to be. */
  readonly #found = new Map<number, ArmingPlace>();

  constructor(
    private readonly places: ArmingPlaces,
    private readonly script: KeyScript<T>,
    private readonly writes: readonly T[],
  ) {
    this.said = Array.from({ length: writes.length });
    this.#open = [...writes.keys()];
  }

  get isDone(): boolean {
    return this.#open.length === 0;
  }

  /** Sends what is open to where it is thought to be. Resolves with whether the next round may do more at once. */
  async round(): Promise<boolean> {
    const parts = new Map<ArmingPlace, number[]>();
    const open: number[] = [];
    for (const i of this.#open) {
      const { redisKey } = this.writes[i]!;
      const place = this.#found.get(i) ?? this.places.placeOf(redisKey);
      const part = place && (parts.get(place) ?? []);
      if (part) parts.set(place, [...part, i]);
      else open.push(i);
    }
    this.#found.clear();
    const left = await Promise.all(
      [...parts].map(([place, part]) => this.#writePart(place, part)),
    );
    this.#open = [...open, ...left.flat()].toSorted((a, b) => a - b);
    return this.#found.size > 0;
  }

  /** Resolves with what is open still. */
  async #writePart(
    place: ArmingPlace,
    part: readonly number[],
  ): Promise<number[]> {
    const open: number[] = [];
    for (let at = 0; at < part.length; at += CHUNK) {
      const chunk = part.slice(at, at + CHUNK);
      const answers = await this.#send(place, chunk);
      for (const [n, i] of chunk.entries()) {
        const answer = answers?.[n];
        if (answer === undefined) open.push(i);
        else if (answer === 'elsewhere') {
          open.push(i);
          await this.#find(i);
        } else if ('said' in answer) this.said[i] = answer.said;
        else if (isTriedAgainText(answer.refusal)) {
          this.reason = answer.refusal;
          open.push(i);
        } else
          this.refusal ??= `${JSON.stringify(this.writes[i]!.redisKey.toString())}: ${answer.refusal}`;
      }
    }
    return open;
  }

  /** Resolves with undefined where nothing was done, and may be done by another try. */
  async #send(
    place: ArmingPlace,
    chunk: readonly number[],
  ): Promise<KeyAnswer[] | undefined> {
    const writes = chunk.map((i) => this.writes[i]!);
    let isSent = false;
    try {
      return await place.client.runNow((redis) => {
        isSent = true;
        return runKeyScript(redis, this.script, place, writes);
      });
    } catch (error) {
      // Closed: nothing was sent, or `isSent` tells.
      if (error instanceof RedisExpiryError && !isSent) throw error;
      const { lastError } = place.client;
      this.reason = isSent ? reasonOf(error) : (lastError ?? reasonOf(error));
      if (!isSent || isTriedAgain(error)) return undefined;
      if (isReplyError(error)) throw refused(reasonOf(error), error);
      throw new RedisExpiryError(
        'CONNECTION_LOST',
        `The connection was lost before Redis answered, so the call may or may not have taken effect: ${reasonOf(error)}.`,
        { cause: error },
      );
    }
  }

  async #find(i: number): Promise<void> {
    this.reason = 'the key is on its way to another node';
    try {
      const place = await this.places.whereabouts(this.writes[i]!.redisKey);
      if (place) this.#found.set(i, place);
    } catch (error) {
      this.reason = reasonOf(error);
    }
  }
}

/** The error for what a server refuses to do, with its words. */
export const refused = (words: string, cause?: unknown): RedisExpiryError =>
  new RedisExpiryError(
    'KEYS_REFUSED',
    `Redis refuses to write the key or to note its deadline, and nothing of it was done: ${words.replace(/\.$/, '')}. ` +
      'docs/21-keys-that-cannot-be-lost.md lists the permissions that a writer needs.',
    { cause },
  );
