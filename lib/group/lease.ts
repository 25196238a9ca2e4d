import type { CommandClient } from '../connection/command-client.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import type { GroupKeys } from './group-keys.js';
import { GIVE_LEASE, RENEW_LEASE, TAKE_LEASE } from './scripts/lease.lua.js';

/** Ms for which a lease lasts, between two renewals, and at most between two tries to take it. */
const DURATION = 2_000;
const RENEWAL = 500;
const TRY = 500;

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
 * Sees to it that one instance of a group watches its deadlines, for economy: what keeps two from
 * doing harm is the token, which every settling compares.
 *
 * States: waiting (tries to take it) ⇄ holding (renews it) → closed.
 *
 * Guarantees: one holder at a time by Redis's clock; a holder that could not renew for as long as
 * the lease lasts says that it lost it, though Redis could not be asked.
 */
export class Lease {
  #token: string | undefined;
  #turn = 0;
  #renewedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** It goes on by itself. */
  #trying = false;
  /** A step is under way; the next one waits for it. */
  #step: Promise<void> = Promise.resolve();

  constructor(
    private readonly commands: CommandClient,
    private readonly keys: GroupKeys,
    private readonly instance: string,
    private readonly holder: LeaseHolder,
    private readonly log: Log,
  ) {}

  get held(): boolean {
    return this.#token !== undefined;
  }

  /** Tries to take the lease, and goes on until `close`. Resolves after the first try; rejects if that failed. */
  async start(): Promise<void> {
    if (this.#closed || this.#trying) return;
    const taking = this.#take();
    this.#step = taking.catch(() => undefined);
    await taking;
    this.#trying = true;
    this.#stepIn(this.held ? RENEWAL : TRY);
  }

  /** Gives the lease back, if it is held, so that another instance takes over at once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#step;
    const token = this.#token;
    if (token === undefined) return;
    const watched = this.holder.watchedUntil();
    this.#lose();
    const { lease, watched: note } = this.keys;
    await this.commands
      .run((redis) =>
        GIVE_LEASE.run(redis, [lease, note], token, watched ?? ''),
      )
      .catch((error: unknown) =>
        this.log.debug(`The lease could not be given back: ${reasonOf(error)}`),
      );
  }

  #stepIn(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#step = this.#takeOrRenew();
    }, ms).unref();
  }

  async #takeOrRenew(): Promise<void> {
    let expiry: NodeJS.Timeout | undefined;
    try {
      if (this.held) {
        const left = this.#renewedAt + DURATION - performance.now();
        // Redis may not answer in time, or at all: then the lease is another's to take.
        expiry = setTimeout(() => this.#lose(), Math.max(0, left)).unref();
        await this.#renew();
      } else await this.#take();
    } catch (error) {
      this.log.debug(`The lease: ${reasonOf(error)}`);
    }
    clearTimeout(expiry);
    this.#stepIn(this.held ? RENEWAL : TRY);
  }

  async #take(): Promise<void> {
    const token = `${this.instance}:${++this.#turn}`;
    const asked = performance.now();
    const { lease, watched } = this.keys;
    const reply = (await this.commands.run((redis) =>
      TAKE_LEASE.run(redis, [lease, watched], token, DURATION),
    )) as [number, string | number];
    if (reply[0] !== 1) return;
    this.#token = token;
    this.#renewedAt = asked;
    // Taken while it was being closed: given back there.
    if (this.#closed) return;
    const until = reply[1] === '' ? undefined : Number(reply[1]);
    this.holder.onHeld(token, until);
  }

  async #renew(): Promise<void> {
    const asked = performance.now();
    const token = this.#token!;
    const until = this.holder.watchedUntil();
    const { lease, watched } = this.keys;
    const kept = await this.commands.run((redis) =>
      RENEW_LEASE.run(redis, [lease, watched], token, DURATION, until ?? ''),
    );
    if (token !== this.#token) return;
    if (kept === 1) this.#renewedAt = asked;
    else this.#lose();
  }

  #lose(): void {
    if (this.#token === undefined) return;
    this.#token = undefined;
    this.holder.onLost();
  }
}
