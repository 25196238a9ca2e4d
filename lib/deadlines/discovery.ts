import type { ScanReport } from '../listening/deadline-keeper.js';
import { isDenied } from '../connection/server-error.js';
import type { WantedPattern } from '../listening/interests.js';
import { Signal } from '../util/signal.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { Log } from '../util/log.js';
import { AccessWarnings } from './access-warnings.js';
import type { DeadlineIndex } from './deadline-index.js';
import { TtlBatcher } from './ttl-batcher.js';
import { RenewalChoice } from './renewal-choice.js';
import { planScan } from './scan-plan.js';
import { scanDeadlines } from './scan.js';
import type { TtlReader } from './ttl-reader.js';

/** The option `punctual`, complete, and what a group adds to it. */
export interface PunctualOptions {
  /** Ms between two reconciling scans. */
  readonly scanInterval: number;
  /** Keys that a page of a scan looks at. */
  readonly scanCount: number;
  /**
   * Set where renewals are left out if that is worth it (`renewals: 'auto'`): the database whose keys
   * with a deadline are counted by each scan.
   */
  readonly countedDatabase?: number;
}

/** What is subscribed to now; the registry of subscriptions tells it. */
export interface Patterns {
  /** The patterns that somebody is subscribed to. One that is subscribed to again, after nobody was, is another object. */
  wanted(): readonly WantedPattern[];
  /** Whether some pattern matches the key. */
  matches(redisKey: Buffer): boolean;
}

/** Share of the time in which a page of a scan may be under way: while keys wait for it, and when it only reconciles. */
const EAGER_SHARE = 0.75;
const CALM_SHARE = 0.1;
/** Ms before a scan that failed, or that has to make up for an overflow, is made anew. */
const RETRY_DELAY_MS = 1_000;
/** The same where keys came from another server while it scanned: more of them may be on their way. */
const MOVED_RESCAN_DELAY_MS = 5_000;

/**
 * Learns the deadlines of one node's keys: of keys that exist, by scans, and of keys that are created or
 * given a deadline, by what Redis announces. Each `NodeWatch` has one.
 *
 * States:
 * - *paused* (at first, and after `pause`): nothing is read, because a read is a touch, and an expiry that it
 *   causes unheard leaves no evidence.
 * - *running* (after `resume`): it begins with a scan of every pattern that is served, eagerly, because keys
 *   wait for it. Then a `TtlBatcher` reads the keys that Redis announces, a pattern that is new is scanned as
 *   soon as it is served, and everything is scanned again at every `scanInterval`, at leisure. A scan that
 *   failed, or that must make up for keys that were left out, follows within seconds.
 * - *closed* (after `close`): nothing begins again, and `ready` resolves.
 *
 * Guarantees: a key that exists with a deadline throughout one scan is enrolled when the scan ends. A pattern is
 * scanned after the node acknowledged its subscription, so no key is created unseen in between; and
 * a pattern that nobody was subscribed to for a while is new when it comes back, and is scanned again.
 */
export class DeadlineDiscovery {
  /** What the newest scan found that was completed. */
  lastScan: ScanReport | undefined;
  readonly #renewals = new RenewalChoice();
  readonly #enrolment: TtlBatcher;
  /** The patterns whose subscription the node acknowledged. */
  #served: ReadonlySet<string> = new Set();
  /** The patterns that need no scan: one was made since listening began and within the interval, or is under way. */
  #scanned = new WeakSet<WantedPattern>();
  /** The patterns of which a scan has ended at some time, or could not be made for want of permission. */
  readonly #known = new WeakSet<WantedPattern>();
  readonly #warnings: AccessWarnings;
  readonly #changed = new Signal();
  #abort: AbortController | undefined;
  #scanning = false;
  readonly #timer = new SoonestTimer(() => this.#scanAll());
  /** Of the scan that the timer begins. */
  #nextShare = CALM_SHARE;
  #nextScanAt = 0;
  /** Whether the timer waits for a scan that makes up for keys that were left out. */
  #soon = false;
  /** Whether keys came from another node, so that one more scan follows the one that is under way. */
  #again = false;
  #closed = false;

  constructor(
    private readonly index: Pick<DeadlineIndex, 'enrol' | 'zsetFor'>,
    private readonly reader: TtlReader,
    private readonly patterns: Patterns,
    private readonly options: PunctualOptions,
    private readonly onEnrolled: (soonest: number) => void,
    log: Log,
  ) {
    this.#warnings = new AccessWarnings(patterns, log);
    reader.onForbidden = (key) => this.#warnings.forbidden(key);
    this.#enrolment = new TtlBatcher({
      index,
      reader,
      onEnrolled,
      onOverflow: () => this.#scanAnewSoon(),
      onError: (error) => this.report(error),
    });
  }

  /** Whether it is worth it to hear of each key that is given a new deadline. */
  get wantsRenewals(): boolean {
    return this.#renewals.areWanted;
  }

  /**
   * Begins to learn, or scans for the patterns that are new if it does already.
   *
   * @param served the patterns, as users wrote them, that the node is listened to for
   */
  resume(served: ReadonlySet<string>): void {
    if (this.#closed) return;
    this.#served = served;
    if (!this.#abort) {
      this.#abort = new AbortController();
      this.#nextScanAt = performance.now() + this.options.scanInterval;
      this.#enrolment.resume();
    } else if (this.#missing().length === 0) {
      // A pattern that somebody waited for may be gone.
      this.#changed.fire();
      return;
    }
    void this.#scan(EAGER_SHARE, this.#abort.signal);
  }

  pause(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.#enrolment.pause();
    this.#scanned = new WeakSet();
    this.#soon = false;
    this.#timer.cancel();
  }

  close(): void {
    this.pause();
    this.#closed = true;
    this.#changed.fire();
  }

  /** The node serves keys that it did not, which a scan has to find. */
  rescan(): void {
    this.#again = true;
    if (this.#abort && !this.#scanning) this.#scanAnewSoon();
  }

  /** A key was created. */
  created(redisKey: Buffer): void {
    this.#enrolment.created(redisKey);
  }

  /** A key was given a deadline. */
  renewed(redisKey: Buffer): void {
    this.#enrolment.renewed(redisKey);
  }

  /** A key was written or removed, in whatever way. */
  changed(redisKey: Buffer): void {
    this.#enrolment.changed(redisKey);
  }

  /** A key may have been given another deadline, of which nothing was announced. */
  looked(redisKey: Buffer): void {
    this.#enrolment.looked(redisKey);
  }

  /** Resolves when a first scan of every pattern is done, or could not be made for want of permission. */
  async ready(): Promise<void> {
    while (!this.#closed && !(this.#abort && this.#knowsAll()))
      await this.#changed.next();
  }

  #knowsAll(): boolean {
    return this.patterns.wanted().every((each) => this.#known.has(each));
  }

  /** Logs why looking at keys failed. What an operator has to mend is a warning, once. */
  report(error: unknown): void {
    this.#warnings.failed(error);
  }

  /** Scans the patterns that need it, and sets the timer for the next scan of all. */
  async #scan(share: number, abort: AbortSignal): Promise<void> {
    if (this.#scanning) return;
    this.#scanning = true;
    // A scan that makes up for an overflow is made all the same.
    if (!this.#soon) this.#timer.cancel();
    let failed = false;
    try {
      while (!abort.aborted && this.#missing().length > 0)
        await this.#scanMissing(share, abort);
    } catch (error) {
      this.report(error);
      failed = true;
    }
    this.#scanning = false;
    // Paused and resumed while this scan was ending: the new one is still to be made.
    if (abort.aborted) {
      if (this.#abort) void this.#scan(EAGER_SHARE, this.#abort.signal);
      return;
    }
    if (failed) {
      this.#scanIn(RETRY_DELAY_MS, share);
      return;
    }
    this.#changed.fire();
    if (this.#again) {
      this.#again = false;
      this.#scanIn(MOVED_RESCAN_DELAY_MS, EAGER_SHARE);
      this.#soon = true;
      return;
    }
    // A scan for a new pattern does not put the next full scan off.
    if (this.#soon) return;
    this.#scanIn(this.#nextScanAt - performance.now(), CALM_SHARE);
  }

  #scanIn(ms: number, share: number): void {
    this.#soon = false;
    this.#nextShare = share;
    this.#timer.cancel();
    this.#timer.within(ms);
  }

  #scanAll(): void {
    this.#soon = false;
    if (!this.#abort) return;
    this.#scanned = new WeakSet();
    this.#nextScanAt = performance.now() + this.options.scanInterval;
    void this.#scan(this.#nextShare, this.#abort.signal);
  }

  /** Keys were left out, and a scan has to find them, but not before the rush is over. */
  #scanAnewSoon(): void {
    // A rush that goes on does not put it off.
    if (this.#soon) return;
    if (this.#abort && !this.#scanning) {
      this.#again = false;
      this.#scanIn(RETRY_DELAY_MS, EAGER_SHARE);
      this.#soon = true;
    } else this.#scanned = new WeakSet();
  }

  async #scanMissing(share: number, abort: AbortSignal): Promise<void> {
    const missing = this.#missing();
    for (const pattern of missing) this.#scanned.add(pattern);
    const { index, reader, onEnrolled } = this;
    const scan = {
      index,
      reader,
      onEnrolled,
      wanted: (key: Buffer) => this.patterns.matches(key),
      count: this.options.scanCount,
    };
    const plan = planScan(missing.map(({ redisGlob }) => redisGlob));
    try {
      const report = await scanDeadlines(scan, plan, share, abort);
      if (!report) return;
      const ofAll = missing.length === this.patterns.wanted().length;
      this.lastScan = ofAll ? await this.#counted(report) : report;
      this.#renewals.take(this.lastScan);
    } catch (error) {
      for (const pattern of missing) this.#scanned.delete(pattern);
      if (abort.aborted || !isDenied(error)) throw error;
      // An operator has to mend that, so it is tried again by the next full scan.
      this.report(error);
      for (const pattern of missing) this.#scanned.add(pattern);
    }
    for (const pattern of missing) this.#known.add(pattern);
    this.#changed.fire();
  }

  /** With how many keys the database has that have a deadline, where that is to be known. */
  async #counted(report: ScanReport): Promise<ScanReport> {
    const { countedDatabase } = this.options;
    if (countedDatabase === undefined) return report;
    const volatile = await this.reader.countVolatile(countedDatabase);
    return volatile === undefined ? report : { ...report, volatile };
  }

  /** The patterns that the node is listened to for and that need a scan. */
  #missing(): WantedPattern[] {
    return this.patterns
      .wanted()
      .filter(
        (each) => this.#served.has(each.text) && !this.#scanned.has(each),
      );
  }
}
