import { performance } from 'node:perf_hooks';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { Backlog } from './backlog.js';
import type { EventStream } from './event-stream.js';
import type { DroppedLetters } from './letter-limits.js';

/** Between two looks for due retries, by the instance that leads. */
const PROMOTION_INTERVAL_MS = 1_000;
/** For which a retry may still be waiting after it was due: its promotion is on its way. */
const PROMOTION_SLACK_MS = 100;
/** Between two looks at the backlog. */
const BACKLOG_INTERVAL_MS = 2_000;
/** After this time without a sign of life, at the least, a consumer that has nothing pending is removed. */
const REAPING_MS = 15_000;
/** Retries that one step promotes at most, and letters that one step deletes. */
const MOST = 1_000;

export interface HousekeepingOptions {
  readonly stream: EventStream;
  /** Ms that an entry stays with an instance that stopped renewing it. */
  readonly leaseDuration: number;
  /** Whether this instance leads the partition. */
  readonly leads: () => boolean;
  readonly dropped: DroppedLetters;
  readonly log: Log;
}

/**
 * What has to be done for the stream of a partition beside handling events: every instance counts what
 * there is to do, and puts the retries back that it put aside itself; the one that leads does so for all
 * instances, removes what dead ones left, and deletes old letters.
 *
 * States: new → `start` → running → `stop`, for good. What fails is done again at the next turn.
 */
export class Housekeeping {
  /** What there is to do, as of the last look. */
  backlog: Backlog | undefined;
  /** When the partition was last seen to have a leader; at first the moment from which it is looked for. */
  leaderSeen = new Date();
  #timers: NodeJS.Timeout[] = [];
  #isStopped = false;
  /** Puts retries back when they are due. */
  readonly #promotion = new SoonestTimer(() =>
    this.#guarded(() => this.#promote()),
  );
  /** When the last retry is due that this instance put aside and promotes itself, by `performance.now()`. */
  #promotesUntil = 0;

  constructor(private readonly options: HousekeepingOptions) {}

  /** Rejects if the backlog cannot be counted. */
  async start(): Promise<void> {
    const { stream, leads, leaseDuration } = this.options;
    await this.#count();
    if (this.#isStopped || this.#timers.length > 0) return;
    this.every(PROMOTION_INTERVAL_MS, async () => {
      if (leads()) this.#promotion.within(0);
    });
    this.every(BACKLOG_INTERVAL_MS, async () => {
      const { dead } = await this.#count();
      if (!leads()) return;
      await stream.reap(Math.max(REAPING_MS, 2 * leaseDuration));
      if (dead > 0) await this.#dropLetters();
    });
  }

  /** Has some work done again and again, never twice at once, until `stop`. */
  every(ms: number, work: () => Promise<void>): void {
    let isBusy = false;
    const timer = setInterval(() => {
      if (isBusy) return;
      isBusy = true;
      void this.#guarded(work).finally(() => (isBusy = false));
    }, ms);
    this.#timers.push(timer.unref());
  }

  /** A retry that was just put aside is due after so many ms. */
  promoteAfter(ms: number): void {
    // The instance that leads finds later ones in time.
    if (ms >= PROMOTION_INTERVAL_MS) return;
    this.#promotion.within(ms + 1);
    this.#promotesUntil = Math.max(
      this.#promotesUntil,
      performance.now() + ms + PROMOTION_SLACK_MS,
    );
  }

  /** Leaves the promotion of retries to others. */
  stopPromoting(): void {
    this.#promotion.stop();
  }

  stop(): void {
    this.#isStopped = true;
    this.#promotion.stop();
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }

  /**
   * The timer knows only the soonest of this instance's retries: Redis tells when the next one is
   * due. Whoever leads goes on for the whole group, any other instance until its own are promoted.
   */
  async #promote(): Promise<void> {
    const { stream, leads } = this.options;
    const next = await stream.promote(MOST);
    if (next === undefined || next >= PROMOTION_INTERVAL_MS) return;
    if (leads() || performance.now() < this.#promotesUntil)
      this.#promotion.within(next + 1);
  }

  async #count(): Promise<Backlog> {
    const backlog = await this.options.stream.backlog();
    this.backlog = backlog;
    if (backlog.leaders > 0) this.leaderSeen = new Date();
    return backlog;
  }

  /** The finishing of an entry sees to their number; age, and a limit that was lowered, are seen to here. */
  async #dropLetters(): Promise<void> {
    const { stream, dropped } = this.options;
    for (let count = MOST; count === MOST && !this.#isStopped;) {
      count = await stream.dropLetters();
      dropped.add(count);
    }
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    const began = performance.now();
    try {
      await work();
    } catch (error) {
      const took = Math.round(performance.now() - began);
      this.options.log.debug(
        `The group's housekeeping failed after ${took} ms: ${reasonOf(error)}`,
      );
    }
  }
}
