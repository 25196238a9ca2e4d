import type { Commands } from '../connection/commands.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import type { GroupKeys } from './group-keys.js';
import { GIVE_LEASE } from '../scripts/give-lease.lua.js';
import { RENEW_LEASE } from '../scripts/renew-lease.lua.js';
import { type LeaseShare, WHOLE_SHARE } from './lease-shares.js';
import { TAKE_LEASE } from '../scripts/take-lease.lua.js';

/** Ms for which Redis keeps the lease for its holder after it was asked to. */
const DURATION_MS = 2_000;
/** Ms between two requests to keep the lease, and at most between two requests to take it. */
const INTERVAL_MS = 500;
/** Ms for which a lease that was given back is left to others. */
const LEFT_MS = 3 * INTERVAL_MS;
/**
 * Ms within which the answer to a request for the lease must come. A link that takes longer could not
 * renew it in time; and an answer to a request that waited through an outage does not tell how much
 * of the lease is left.
 */
const TIMELY_MS = DURATION_MS / 2;

/** The instance that a lease's token names. */
export const holderOf = (token: string): string => token.replace(/:\d+$/, '');

/** What holding the lease begins and ends. */
export interface LeaseHolder {
  /** The lease is held, under this token. `watched`: until when the group was watched, in epoch ms. */
  onHeld(token: string, watched: number | undefined): void;
  /** It is held no longer. */
  onLost(): void;
  /** Epoch ms by Redis's clock until which nothing can have gone unseen; undefined while that is open. */
  watchedUntil(): number | undefined;
}

/**
 * Elects the instance of a group that watches its deadlines: whoever holds the lease leads. Electing
 * one is for economy; what keeps two from doing harm is the token, a fencing token that every
 * settling compares.
 *
 * States:
 * - waiting (at first): it asks for the lease every half second, or as soon as the present one runs out.
 *   A free lease is left to others for half a second more, where this instance has its share already.
 * - holding, from an answer that came in time on: it asks to keep the lease every half second; or gives it
 *   back, where another instance has too few, and leaves it to others for a while.
 * - closed: it gave the lease back.
 *
 * Holding ends when Redis says that the lease is another's, or `DURATION_MS` after the newest request
 * that Redis answered was *sent*. So it ends without Redis, too, and before another instance can be
 * given the lease.
 *
 * Guarantees:
 * - One holder at a time by Redis's clock.
 * - An answer counts only if it came in time, counted from when its request was made. A request may
 *   wait through an outage, in the client or in a socket, and be answered minutes later; it is then
 *   made anew at once.
 * - What Redis granted to this instance and this instance does not use holds it up no longer: a later
 *   request of the same instance takes its place.
 */
export class LeaderLease {
  /** The token under which Redis may keep the lease for this instance; undefined where it certainly does not. */
  #token: string | undefined;
  /** The holder was told that it holds the lease. */
  #claimed = false;
  /** Until when it may be claimed, by `performance.now()`. */
  #heldUntil = 0;
  /** Ends the claim at `#heldUntil`. */
  #expiry: NodeJS.Timeout | undefined;
  /** Makes the next request. */
  #next: NodeJS.Timeout | undefined;
  #turn = 0;
  #closed = false;
  /** It goes on by itself. */
  #trying = false;
  /** It was free when it was looked at last, and left to others. */
  #wasLeft = false;
  /** A request is under way; the next one waits for it. */
  #request: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly commands: Commands,
    private readonly keys: GroupKeys,
    private readonly instance: string,
    private readonly holder: LeaseHolder,
    private readonly log: Log,
    private readonly share: LeaseShare = WHOLE_SHARE,
  ) {}

  get held(): boolean {
    return this.#claimed && performance.now() < this.#heldUntil;
  }

  /** Tries to take the lease, and goes on until `close`. Resolves after the first try; rejects if that failed. */
  async start(): Promise<void> {
    if (this.#closed || this.#trying) return;
    const taking = this.#take();
    this.#request = taking.catch(() => undefined);
    const wait = await taking;
    this.#trying = true;
    this.#askIn(wait);
  }

  /** Gives the lease back, if Redis may keep it for this instance, so that another one takes over at once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#next);
    await this.#request;
    this.share.close();
    await this.#giveBack().catch((error: unknown) =>
      this.log.debug(`The lease could not be given back: ${reasonOf(error)}`),
    );
  }

  async #giveBack(): Promise<void> {
    const token = this.#token;
    if (token === undefined) return;
    const watched = this.#claimed ? this.holder.watchedUntil() : undefined;
    this.#lose();
    const { lease, watched: note } = this.keys;
    await this.commands.run((redis) =>
      GIVE_LEASE.run(redis, [lease, note], token, watched ?? ''),
    );
  }

  #askIn(ms: number): void {
    if (this.#closed) return;
    this.#next = setTimeout(() => {
      this.#request = this.#ask();
    }, ms).unref();
  }

  async #ask(): Promise<void> {
    let wait = INTERVAL_MS;
    try {
      if (!this.held) wait = await this.#take();
      else if (this.share.givesBack()) {
        await this.#giveBack();
        wait = LEFT_MS;
      } else wait = await this.#renew();
    } catch (error) {
      this.log.debug(`The lease: ${reasonOf(error)}`);
    }
    this.#askIn(wait);
  }

  /** Resolves with the ms to wait before the next request, as `#renew` does. */
  async #take(): Promise<number> {
    this.#lose();
    const turn = ++this.#turn;
    const token = `${this.instance}:${turn}`;
    this.#token = token;
    const looks = this.share.isReluctant && !this.#wasLeft;
    const { lease, watched } = this.keys;
    const asked = performance.now();
    const [granted, rest, holder] = (await this.commands.run((redis) =>
      TAKE_LEASE.run(
        redis,
        [lease, watched],
        ...[this.instance, turn, DURATION_MS, looks ? 1 : ''],
      ),
    )) as [number, string | number, string?];
    this.#wasLeft = looks && holder === '';
    this.share.note(granted === 1 ? this.instance : holder || undefined);
    if (granted !== 1) {
      this.#token = undefined;
      if (this.#wasLeft) return INTERVAL_MS;
      const left = Number(rest);
      // -1: somebody else wrote it, without an end.
      return left < 0 ? INTERVAL_MS : Math.min(INTERVAL_MS, left + 1);
    }
    if (performance.now() - asked > TIMELY_MS) return 0;
    // Taken while it was being closed: given back there.
    if (this.#closed) return 0;
    this.#claimed = true;
    this.#holdSince(asked);
    this.holder.onHeld(token, rest === '' ? undefined : Number(rest));
    return INTERVAL_MS;
  }

  async #renew(): Promise<number> {
    const token = this.#token!;
    const until = this.holder.watchedUntil();
    const { lease, watched } = this.keys;
    const asked = performance.now();
    const kept = await this.commands.run((redis) =>
      RENEW_LEASE.run(
        redis,
        [lease, watched],
        ...[token, DURATION_MS, until ?? ''],
      ),
    );
    if (kept !== 1) {
      this.#token = undefined;
      this.#lose();
    }
    if (!this.held) return 0;
    this.#holdSince(asked);
    return INTERVAL_MS;
  }

  /** `asked`: when the request was made that Redis answered. Redis keeps the lease for longer, but not for less. */
  #holdSince(asked: number): void {
    this.#heldUntil = asked + DURATION_MS;
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(
      () => {
        this.log.debug('The lease ran out: Redis did not renew it in time');
        this.#lose();
      },
      Math.max(0, this.#heldUntil - performance.now()),
    ).unref();
  }

  #lose(): void {
    clearTimeout(this.#expiry);
    if (!this.#claimed) return;
    this.#claimed = false;
    this.share.note(undefined);
    this.holder.onLost();
  }
}
