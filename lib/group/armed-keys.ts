import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import { sleep } from '../util/sleep.js';
import type { ArmingPlaces } from './arming-places.js';
import { KeyCall, refused } from './key-call.js';
import {
  ARMING,
  CANCELLATION,
  ENROLMENT,
  type KeyScript,
  type KeyWrite,
  RENEWAL,
} from './key-writes.js';

/** Ms until what reached no server, or the wrong one, is tried again: at first, and at most. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 200;

/** A key that is to be written, without `keyPrefix`. */
export interface KeyToArm {
  readonly key: Buffer;
  /** Ms from 1 on. */
  readonly ttl: number;
  readonly value: string | Buffer;
}

/** What became of a key that was armed. */
export interface Armed {
  /** Epoch ms by Redis's clock. */
  readonly deadline: number;
  /** Whether the key did not live before. */
  readonly created: boolean;
}

/**
 * Writes keys whose deadlines one group is to know from the same moment on, whether some instance of it runs or
 * not. An engine has one for each group that it was asked for.
 *
 * States: open → `close` → closed, for good: what is under way rejects.
 *
 * Guarantees: key and deadline are written in one step, on the server that has both, or neither is. What
 * certainly was not done is tried again for `patienceMs`, wherever the key is by then. What may have been done is
 * never sent again: it rejects with `CONNECTION_LOST`.
 */
export class ArmedKeys {
  #isClosed = false;

  /**
   * @param keyPrefix what every key of the user's begins with
   * @param patienceMs for how many ms a call waits for a server that does it
   */
  constructor(
    private readonly places: ArmingPlaces,
    private readonly keyPrefix: string,
    private readonly patienceMs: number,
  ) {}

  async arm(keys: readonly KeyToArm[]): Promise<Armed[]> {
    const armings = keys.map(({ key, ttl, value }) => {
      return { redisKey: this.#redisKey(key), ttl, value };
    });
    const said = await this.#write(ARMING, armings);
    return said.map((text) => {
      const [deadline, created] = text.split(' ');
      return { deadline: Number(deadline), created: created === '1' };
    });
  }

  /** Resolves with whether the key lived. `value`: undefined for the one that it has. */
  async renew(
    key: Buffer,
    ttl: number,
    value: string | Buffer | undefined,
  ): Promise<boolean> {
    const redisKey = this.#redisKey(key);
    const [said] = await this.#write(RENEWAL, [{ redisKey, ttl, value }]);
    return said === '1';
  }

  /** Resolves with whether the key lived. */
  async cancel(key: Buffer): Promise<boolean> {
    const redisKey = this.#redisKey(key);
    const [said] = await this.#write(CANCELLATION, [{ redisKey }]);
    return said === '1';
  }

  /** Resolves with how many of the keys have a deadline. */
  async enrol(keys: readonly Buffer[]): Promise<number> {
    const writes = keys.map((key) => ({ redisKey: this.#redisKey(key) }));
    const said = await this.#write(ENROLMENT, writes);
    return said.filter((text) => text === '1').length;
  }

  close(): void {
    this.#isClosed = true;
    this.places.close();
  }

  #redisKey(key: Buffer): Buffer {
    return Buffer.concat([Buffer.from(this.keyPrefix), key]);
  }

  /** Resolves with what the script says of each key. */
  async #write<T extends KeyWrite>(
    script: KeyScript<T>,
    writes: readonly T[],
  ): Promise<string[]> {
    const { places, patienceMs } = this;
    const call = new KeyCall(places, script, writes);
    const until = performance.now() + patienceMs;
    let pause = FIRST_PAUSE_MS;
    while (!call.isDone) {
      if (this.#isClosed)
        throw new RedisExpiryError('CLOSED', 'The module was shut down.');
      places.prepare();
      const mayGoOn = await call.round();
      if (call.isDone) break;
      if (performance.now() > until)
        throw new RedisExpiryError(
          'CONNECT_FAILED',
          `Nothing could be written within ${patienceMs} ms (connectTimeout): ${call.reason ?? places.lastError ?? 'no node answered'}.`,
        );
      if (mayGoOn) continue;
      await sleep(pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
    if (call.refusal !== undefined) throw refused(call.refusal);
    return call.said;
  }
}
