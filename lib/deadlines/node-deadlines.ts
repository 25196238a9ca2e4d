import type { CommandClient } from '../connection/command-client.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type {
  DeadlineStatus,
  ExpiryTiming,
  NodeObserver,
  ScanReport,
} from '../keyspace/node-observer.js';
import { isForbidden } from '../keyspace/redis-node.js';
import { Signal } from '../keyspace/signal.js';
import type { Log } from '../log.js';
import { Enrolment } from './enrolment.js';
import { MemoryIndex } from './memory-index.js';
import { RecentlyGone } from './recently-gone.js';
import { RedisClock } from './redis-clock.js';
import { scanDeadlines } from './scan.js';
import { TtlReader } from './ttl-reader.js';
import { Watch } from './watch.js';

/** The option `punctual`, complete. */
export interface PunctualOptions {
  /** Ms between two reconciling scans. */
  readonly scanInterval: number;
  /** Keys that a page of a scan looks at. */
  readonly scanCount: number;
}

/** The patterns that are wanted now. */
export interface Patterns {
  /** As globs of Redis's, `keyPrefix` included. */
  redisPatterns(): string[];
  /** Whether some pattern matches the key. */
  matches(redisKey: Buffer): boolean;
}

/** Share of the time in which a page of a scan may be under way: while keys wait for it, and when it only reconciles. */
const EAGER = 0.6;
const CALM = 0.1;
/** Ms between two readings of Redis's clock while nothing else brings one. */
const CLOCK_INTERVAL = 15_000;
/** Ms before a scan that failed is begun anew. */
const AGAIN = 1_000;

/**
 * Knows the deadlines of one node's keys and touches each key when it is due, so that Redis
 * announces its expiry then. For broadcast: what Redis announces is what counts; this only sees to
 * it that it is announced on time.
 *
 * States: lost (at first) ⇄ listening → closed. Only while listening does it touch, enrol or scan:
 * a touch that nobody hears destroys the evidence. Every return to listening begins with a scan.
 */
export class NodeDeadlines implements NodeObserver {
  readonly #index = new MemoryIndex();
  readonly #clock = new RedisClock();
  readonly #gone = new RecentlyGone();
  readonly #reader: TtlReader;
  readonly #watch: Watch;
  readonly #enrolment: Enrolment;
  readonly #scanned = new Set<string>();
  readonly #changed = new Signal();
  #abort: AbortController | undefined;
  #scanning = false;
  #scanTimer: NodeJS.Timeout | undefined;
  #clockTimer: NodeJS.Timeout | undefined;
  #lastScan: ScanReport | undefined;
  #everScanned = false;
  #warned = false;
  #closed = false;

  constructor(
    commands: CommandClient,
    isCluster: boolean,
    private readonly patterns: Patterns,
    private readonly options: PunctualOptions,
    private readonly log: Log,
  ) {
    this.#reader = new TtlReader(commands, this.#clock, isCluster);
    const shared = {
      index: this.#index,
      reader: this.#reader,
      onError: (error: unknown) => this.#report(error),
    };
    this.#watch = new Watch({
      ...shared,
      clock: this.#clock,
      wanted: (key) => patterns.matches(key),
      onGone: (key, deadline) => this.#gone.add(key, deadline),
    });
    this.#enrolment = new Enrolment({
      ...shared,
      onEnrolled: (soonest) => this.#watch.nudge(soonest),
      onOverflow: () => this.#scanAnewSoon(),
    });
  }

  get status(): DeadlineStatus {
    return {
      tracked: this.#index.count,
      ...(this.#lastScan && { lastScan: this.#lastScan }),
    };
  }

  listening(): void {
    if (this.#closed) return;
    if (!this.#abort) {
      this.#abort = new AbortController();
      this.#enrolment.resume();
      void this.#begin(this.#abort.signal);
    } else void this.#scan(EAGER, this.#abort.signal);
  }

  lost(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.#watch.pause();
    this.#enrolment.pause();
    this.#scanned.clear();
    clearTimeout(this.#scanTimer);
    clearInterval(this.#clockTimer);
  }

  created(redisKey: Buffer): void {
    this.#enrolment.created(redisKey);
  }

  renewed(redisKey: Buffer): void {
    this.#enrolment.renewed(redisKey);
  }

  expired(redisKey: Buffer): ExpiryTiming | undefined {
    const at = this.#index.take(redisKey) ?? this.#gone.take(redisKey);
    const now = this.#clock.now();
    // Due later than now: another client shortened it, and when it ran out is not known.
    if (at === undefined || !(at <= now + 1)) return undefined;
    return {
      deadline: new Date(at),
      lateness: Math.max(0, Math.round((now - at) * 10) / 10),
    };
  }

  async ready(): Promise<void> {
    while (!this.#closed && !(this.#abort && this.#everScanned))
      await this.#changed.next();
  }

  close(): void {
    this.lost();
    this.#closed = true;
    this.#changed.fire();
  }

  async #begin(abort: AbortSignal): Promise<void> {
    try {
      await this.#reader.readTime();
    } catch (error) {
      this.#report(error);
    }
    if (abort.aborted) return;
    this.#watch.resume();
    this.#clockTimer = setInterval(() => {
      if (this.#index.count > 0) this.#reader.readTime().catch(() => undefined);
    }, CLOCK_INTERVAL).unref();
    await this.#scan(EAGER, abort);
  }

  /** Scans what was not scanned since listening began, and then, at every interval, everything. */
  async #scan(share: number, abort: AbortSignal): Promise<void> {
    if (this.#scanning) return;
    this.#scanning = true;
    clearTimeout(this.#scanTimer);
    let failed = false;
    try {
      while (!abort.aborted && this.#missing().length > 0)
        await this.#scanMissing(share, abort);
    } catch (error) {
      this.#report(error);
      failed = !isForbidden(error);
    }
    this.#scanning = false;
    // Listening was lost and resumed while this scan was ending: the new one is still to be made.
    if (abort.aborted) {
      if (this.#abort) void this.#scan(EAGER, this.#abort.signal);
      return;
    }
    if (failed) this.#scanIn(AGAIN, share, abort);
    else {
      this.#everScanned = true;
      this.#changed.fire();
      this.#scanIn(this.options.scanInterval, CALM, abort);
    }
  }

  #scanIn(ms: number, share: number, abort: AbortSignal): void {
    clearTimeout(this.#scanTimer);
    this.#scanTimer = setTimeout(() => {
      this.#scanned.clear();
      void this.#scan(share, abort);
    }, ms).unref();
  }

  /** Keys were left out: a scan has to find them, but not before the rush is over. */
  #scanAnewSoon(): void {
    if (this.#abort && !this.#scanning)
      this.#scanIn(AGAIN, EAGER, this.#abort.signal);
    else this.#scanned.clear();
  }

  #report(error: unknown): void {
    if (!isForbidden(error) || this.#warned) {
      this.log.debug(`Looking at deadlines failed: ${reasonOf(error)}`);
      return;
    }
    this.#warned = true;
    this.log.warn(
      `Redis does not let the module learn deadlines (${reasonOf(error)}): expiries are announced as late ` +
        'as Redis finds them. Grant PTTL and SCAN on the keys, or say punctual: false',
    );
  }

  async #scanMissing(share: number, abort: AbortSignal): Promise<void> {
    const missing = this.#missing();
    for (const pattern of missing) this.#scanned.add(pattern);
    try {
      const report = await scanDeadlines(
        {
          index: this.#index,
          reader: this.#reader,
          count: this.options.scanCount,
          onEnrolled: (soonest) => this.#watch.nudge(soonest),
        },
        missing,
        share,
        abort,
      );
      if (report) this.#lastScan = report;
    } catch (error) {
      for (const pattern of missing) this.#scanned.delete(pattern);
      throw error;
    }
  }

  #missing(): string[] {
    return this.patterns
      .redisPatterns()
      .filter((pattern) => !this.#scanned.has(pattern));
  }
}
