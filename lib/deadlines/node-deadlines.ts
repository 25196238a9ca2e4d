import type {
  DeadlineStatus,
  ExpiryTiming,
  DeadlineKeeper,
} from '../listening/deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Signal } from '../util/signal.js';
import type { Log } from '../util/log.js';
import type { DeadlineEntry, Verdict } from './deadline-index.js';
import {
  DeadlineDiscovery,
  type Patterns,
  type PunctualOptions,
} from './discovery.js';
import { MemoryIndex } from './memory-index.js';
import {
  type Announcements,
  RecentlyGone,
  announcementsWithin,
} from './recently-gone.js';
import { RedisClock } from './redis-clock.js';
import { DuplicateFilter } from './duplicate-filter.js';
import { TtlReader } from './ttl-reader.js';
import { DueLoop } from './due-loop.js';

/**
 * Knows the deadlines of one node's keys and touches each key when it is due, so that Redis
 * announces its expiry then. For broadcast: what Redis announces is what counts; this only sees to
 * it that it is announced on time, and tells how late it was.
 *
 * States: lost (at first) ⇄ listening → closed. Only while listening does it touch, learn or scan.
 */
export class NodeDeadlines implements DeadlineKeeper {
  readonly #index = new MemoryIndex();
  readonly #clock = new RedisClock();
  readonly #gone = new RecentlyGone();
  /** Set where another server may take this one's place unnoticed. */
  readonly #told: DuplicateFilter | undefined;
  readonly #reader: TtlReader;
  readonly #watch: DueLoop;
  readonly #learner: DeadlineDiscovery;
  readonly #changed = new Signal();
  #silent = false;

  constructor(
    { commands, noticedAfter }: Pick<RedisNode, 'commands' | 'noticedAfter'>,
    isCluster: boolean,
    private readonly patterns: Patterns,
    options: PunctualOptions,
    log: Log,
  ) {
    this.#told =
      noticedAfter > 0 ? new DuplicateFilter(noticedAfter) : undefined;
    this.#reader = new TtlReader(
      commands,
      this.#clock,
      isCluster ? {} : undefined,
    );
    this.#learner = new DeadlineDiscovery(
      this.#index,
      this.#reader,
      patterns,
      options,
      (soonest) => this.#watch.nudge(soonest),
      log,
    );
    this.#clock.onStep = () => this.#watch.retime();
    this.#watch = new DueLoop({
      index: this.#index,
      clock: this.#clock,
      readTime: () => this.#reader.readTime(),
      look: (due) => this.#look(due),
      onError: (error) => this.#learner.report(error),
    });
  }

  get status(): DeadlineStatus {
    const { lastScan } = this.#learner;
    return { tracked: this.#index.count, ...(lastScan && { lastScan }) };
  }

  listening(_proven: boolean, served: ReadonlySet<string>): void {
    this.#told?.listening();
    this.#silent = false;
    this.#learner.resume(served);
    this.#watch.resume();
  }

  lost(): void {
    this.#told?.lost();
    this.#watch.pause();
    this.#learner.pause();
  }

  /** Nothing is announced: there is nothing to bring forward, and nobody is to wait for it. */
  silent(): void {
    this.lost();
    this.#silent = true;
    this.#changed.fire();
  }

  replaced(): void {
    this.#told?.replaced();
  }

  gained(): void {
    this.#learner.rescan();
  }

  hint(event: string, redisKey: Buffer): void {
    this.#gone.take(redisKey);
    this.#told?.forget(redisKey);
    if (event === 'new') this.#learner.created(redisKey);
    else this.#learner.renewed(redisKey);
  }

  changed(redisKey: Buffer): void {
    this.#learner.changed(redisKey);
  }

  expired(redisKey: Buffer): ExpiryTiming | 'repeat' | undefined {
    const at = this.#index.take(redisKey) ?? this.#gone.take(redisKey);
    if (this.#told?.repeats(redisKey, at !== undefined)) return 'repeat';
    const now = this.#clock.now();
    if (at === undefined) return undefined;
    // Due later than now: another client shortened it, or Redis's clock was set. When it ran out is not known.
    if (!(at <= this.#clock.latest())) {
      this.#watch.suspectStep();
      return undefined;
    }
    return {
      deadline: new Date(at),
      lateness: Math.max(0, Math.round(now - at)),
    };
  }

  async ready(): Promise<void> {
    let learnt = false;
    void this.#learner.ready().then(() => {
      learnt = true;
      this.#changed.fire();
    });
    while (!learnt && !this.#silent) await this.#changed.next();
  }

  close(): void {
    this.lost();
    this.#learner.close();
  }

  /** The look is the touch: a key whose deadline has passed expires by it, and is announced. */
  async #look(due: readonly DeadlineEntry[]): Promise<void> {
    const asked = performance.now();
    const { now, ttls } = await this.#reader.read(due.map(({ key }) => key));
    const roundTrip = performance.now() - asked;
    const verdicts = due.map(({ key, at }, i): Verdict => {
      const ttl = ttls[i]!;
      const lives = ttl >= 0 && this.patterns.matches(key);
      return { key, seen: at, at: lives ? now + ttl : undefined };
    });
    const settled = await this.#index.settle(verdicts);
    let doubtful: Announcements | undefined;
    due.forEach(({ key, at }, i) => {
      if (!settled[i] || ttls[i]! >= -1) return;
      // Removed by this look, it is announced for certain; gone before, it may have been deleted.
      const isCertain = ttls[i] === -3;
      if (!isCertain) doubtful ??= announcementsWithin(50 + 2 * roundTrip);
      this.#gone.add(key, at, isCertain ? undefined : doubtful);
    });
  }
}
