import type { Commands } from '../connection/commands.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type {
  DeadlineKeeper,
  DeadlineStatus,
  ExpiryAnswer,
} from '../listening/deadline-keeper.js';
import type { Log } from '../util/log.js';
import { Signal } from '../util/signal.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { DeadlineJudge } from './deadline-judge.js';
import {
  DeadlineDiscovery,
  type Patterns,
  type PunctualOptions,
} from './discovery.js';
import { DueLoop } from './due-loop.js';
import { RedisClock } from './redis-clock.js';
import { TtlReader } from './ttl-reader.js';

/** Ms before the time is read again where that failed: a connection that broke is back soon. */
const RETRY_DELAY_MS = 100;

/** The states of a `NodeWatch`, which its docstring explains. */
export type WatchState = 'lost' | 'listening' | 'silent' | 'closed';

/** What the watch of a node works with. */
export interface NodeWatchParts {
  /** To the node itself. */
  readonly commands: Commands;
  /** As of `RedisNode`. */
  readonly inCluster: boolean;
  /** What is subscribed to. */
  readonly patterns: Patterns;
  readonly punctual: PunctualOptions;
  readonly log: Log;
}

/**
 * Watches the deadlines of one node's keys, for broadcast and for a group: it discovers deadlines by
 * scans and from what Redis announces, keeps Redis's time, and has each key looked at when it is due.
 * The node's listener tells it what is heard and how listening goes. What a look and an announcement
 * mean, and where the deadlines are kept, its `DeadlineJudge` decides.
 *
 * States:
 * - *lost* (at first, and after `lost`): nothing is heard. The node's keys are neither read nor looked
 *   at, because a read is a touch, and an expiry that it causes unheard leaves no evidence. Leaves by
 *   `listening` or `silent`.
 * - *listening* (after `listening`): everything is heard. Discovery begins with a scan. Once Redis's
 *   time has been read, which is tried until it succeeds, the judge is told that the watch `began`,
 *   and the loop looks at what is due; from then on `isWatching` is true. Leaves by `lost` and
 *   `silent`, of which the judge is told at once by `suspended`.
 * - *silent* (after `silent`; after `listening` without proof, for a judge that looks in silence): the
 *   server announces nothing, as far as can be known. For a judge that looks in silence, all goes on as
 *   in *listening*, and `began` says which it is. For another one, all rests as in *lost*, and who
 *   waits for `ready` is let go, because there is nothing to wait for.
 * - *closed* (after `close`): all has ended, and nothing begins again.
 *
 * Guarantees: `look` is called while `isWatching` only, one call at a time, and for no key before it is
 * due. Every change of the judge's view is one call of `began` or `suspended`, in turns, except that
 * `began` may follow `began` where silence ends without a loss. Redis's clock is read when watching
 * begins, and by `DueLoop` once a second while something is due later and nothing else brings a reading.
 */
export class NodeWatch implements DeadlineKeeper {
  /** The node's time, by this process's clock. */
  readonly clock = new RedisClock();
  /** Reads the node's keys, and sets the clock by each answer. */
  readonly reader: TtlReader;
  readonly #discovery: DeadlineDiscovery;
  readonly #loop: DueLoop;
  #state: WatchState = 'lost';
  #isWatching = false;
  /** Changes whenever what was begun is not to go on. */
  #span = 0;
  readonly #beginning = new SoonestTimer(() => this.#begin());
  readonly #changed = new Signal();

  constructor(
    private readonly judge: DeadlineJudge,
    private readonly parts: NodeWatchParts,
  ) {
    const { commands, inCluster, patterns, punctual, log } = parts;
    const { index } = judge;
    this.reader = new TtlReader(commands, this.clock, inCluster);
    this.#discovery = new DeadlineDiscovery(
      index,
      this.reader,
      patterns,
      punctual,
      (soonest) => {
        this.#loop.nudge(soonest);
        judge.enrolled?.(soonest);
      },
      log,
    );
    this.#loop = new DueLoop({
      index,
      clock: this.clock,
      readTime: () => this.reader.readTime(),
      looker: {
        look: (due) => judge.look(due),
        lookedBefore: (moment) => judge.lookedBefore?.(moment),
        report: (error) => this.report(error),
      },
    });
    this.clock.onStep = (ms) => {
      this.#loop.retime();
      judge.clockStepped?.(ms);
    };
  }

  get status(): DeadlineStatus {
    const { lastScan } = this.#discovery;
    const { tracked } = this.judge;
    return {
      ...(tracked !== undefined && { tracked }),
      ...(lastScan && { lastScan }),
    };
  }

  get wantsRenewals(): boolean {
    return this.#discovery.wantsRenewals;
  }

  /** Whether the node's keys are looked at. */
  get isWatching(): boolean {
    return this.#isWatching;
  }

  get state(): WatchState {
    return this.#state;
  }

  /** The low watermark, by Redis's clock: every deadline before it that was known has been looked at; undefined if none was yet. */
  get lookedBefore(): number | undefined {
    return this.#loop.settledBefore;
  }

  listening(proven: boolean, served: ReadonlySet<string>): void {
    const isSilent = this.judge.looksInSilence && !proven;
    this.#enter(isSilent ? 'silent' : 'listening', 0, served);
  }

  silent(ago: number, served: ReadonlySet<string>): void {
    this.#enter('silent', ago, served);
  }

  lost(ago: number): void {
    if (this.#state === 'lost' || this.#state === 'closed') return;
    const rested = this.#isIdlySilent;
    this.#state = 'lost';
    if (!rested) this.#suspend(ago);
  }

  replaced(): void {
    this.judge.replaced?.();
  }

  gained(from: ReadonlySet<string>): void {
    this.rescan();
    this.judge.gained?.(from);
  }

  hint(event: string, redisKey: Buffer): void {
    this.judge.heard(event, redisKey);
    if (event === 'new') this.#discovery.created(redisKey);
    else if (event === 'expire') this.#discovery.renewed(redisKey);
  }

  changed(redisKey: Buffer): void {
    if (!this.judge.written(redisKey)) this.#discovery.changed(redisKey);
  }

  expired(redisKey: Buffer): ExpiryAnswer {
    return this.judge.announced(redisKey);
  }

  /** Deadlines that are learnt may have been missed: a scan finds them soon. */
  rescan(): void {
    this.#discovery.rescan();
  }

  /** The key was looked at, and may have been renewed unheard: its deadline is learnt, if there is room. */
  looked(redisKey: Buffer): void {
    this.#discovery.looked(redisKey);
  }

  /** The key's deadline may be another one than the index says: it is read anew. */
  relearn(redisKey: Buffer): void {
    this.#discovery.changed(redisKey);
  }

  /** Something may be due at that moment, by Redis's clock, that the loop does not know of; 0 for at once. */
  nudge(at: number): void {
    this.#loop.nudge(at);
  }

  /** Something speaks for a step of Redis's clock: it is read, unless that was done a moment ago. */
  suspectStep(): void {
    this.#loop.suspectStep();
  }

  /** Sets the clock. */
  readTime(): Promise<void> {
    return this.reader.readTime();
  }

  /** Logs why looking at keys failed: once as a warning what an operator has to mend. */
  report(error: unknown): void {
    this.#discovery.report(error);
  }

  async ready(): Promise<void> {
    let isKnown = false;
    void this.#discovery.ready().then(() => {
      isKnown = true;
      this.#changed.fire();
    });
    while (!isKnown && !this.#isIdlySilent) await this.#changed.next();
  }

  close(): void {
    this.lost(0);
    this.#state = 'closed';
    this.#beginning.stop();
    this.#discovery.close();
  }

  /** The server announces nothing, and the judge does not look then. */
  get #isIdlySilent(): boolean {
    return this.#state === 'silent' && !this.judge.looksInSilence;
  }

  #enter(
    state: 'listening' | 'silent',
    ago: number,
    served: ReadonlySet<string>,
  ): void {
    if (this.#state === 'closed') return;
    const before = this.#state;
    this.#state = state;
    if (before === 'listening' && state === 'silent') this.#suspend(ago);
    if (this.#isIdlySilent) {
      this.#changed.fire();
      return;
    }
    this.judge.subscribed?.();
    this.#discovery.resume(served);
    if (before === state) return;
    this.#span++;
    this.#beginning.within(0);
  }

  #suspend(ago: number): void {
    this.judge.suspended(ago);
    this.#span++;
    this.#isWatching = false;
    this.#beginning.cancel();
    this.#loop.pause();
    this.#discovery.pause();
  }

  /** Reads the time, as the judge and the loop go by it, and begins to look. */
  async #begin(): Promise<void> {
    const { state } = this;
    if (state !== 'listening' && state !== 'silent') return;
    const span = this.#span;
    try {
      await this.reader.readTime();
      await this.judge.beginning?.();
      if (span !== this.#span) return;
      this.judge.began(state);
      this.#isWatching = true;
      this.#loop.resume();
    } catch (error) {
      if (span !== this.#span) return;
      this.parts.log.debug(
        `Reading the time of Redis failed, so no key is looked at yet: ${reasonOf(error)}`,
      );
      this.#beginning.within(RETRY_DELAY_MS);
    }
  }
}
