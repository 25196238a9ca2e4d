import type { ExpiryAnswer } from '../listening/deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import { type Announcements, announcementsWithin } from './announcements.js';
import type { Patterns } from './discovery.js';
import type { DeadlineEntry, Verdict } from './deadline-index.js';
import type { DeadlineJudge } from './deadline-judge.js';
import { RecentKeys } from '../util/recent-keys.js';
import { DuplicateFilter } from './duplicate-filter.js';
import { MemoryIndex } from './memory-index.js';
import { MemoryWarnings } from './memory-warnings.js';
import { NodeWatch, type NodeWatchParts } from './node-watch.js';
import { type WarnedPatterns, Warnings, withWarnings } from './warnings.js';
import type { Warning } from '../listening/warning-patterns.js';

/** Ms for which the announcement of a key that a look removed is waited for. */
const ANNOUNCEMENT_MS = 5_000;

/** What is subscribed to, and who is told of warnings. */
export interface JudgedPatterns extends Patterns, WarnedPatterns {
  readonly warnings: WarnedPatterns['warnings'] & {
    deliver(warning: Warning): void;
  };
  /** Whether somebody asks for the expiry of a key. */
  expires(redisKey: Buffer): boolean;
}

/** A key that was found gone, and whether its expiry may still be announced because of that look. */
interface Gone {
  readonly deadline: number;
  readonly announcements: Announcements;
}

/**
 * Broadcast's judge of one node: an announcement of Redis is the event, and nothing else is. It looks at
 * each key when it is due, because the look makes Redis expire the key and announce it at once, and it
 * tells how late each announcement was. It warns of keys that are about to run out. `Broadcast` makes one for each node and hands its `watch` to the
 * node's listener.
 *
 * States are those of `NodeWatch`. While the server announces nothing there is nothing to bring forward,
 * so it does not look then.
 */
export class AnnouncementJudge implements DeadlineJudge {
  readonly index: DeadlineJudge['index'];
  readonly #deadlines = new MemoryIndex();
  readonly looksInSilence = false;
  readonly watch: NodeWatch;
  readonly #warnings: Warnings;
  /** Keys that were found gone: the announcement may come after the answer to the look that caused it. */
  readonly #gone = new RecentKeys<Gone>(ANNOUNCEMENT_MS);
  /** Set where another server may take this one's place unnoticed. */
  readonly #duplicates: DuplicateFilter | undefined;

  constructor(
    { commands, noticedAfter }: Pick<RedisNode, 'commands' | 'noticedAfter'>,
    private readonly parts: Omit<NodeWatchParts, 'commands' | 'patterns'> & {
      readonly patterns: JudgedPatterns;
    },
  ) {
    this.#duplicates =
      noticedAfter > 0 ? new DuplicateFilter(noticedAfter) : undefined;
    const { patterns } = parts;
    const warn = (warning: Warning): void => patterns.warnings.deliver(warning);
    this.#warnings = new Warnings(
      patterns,
      (before) => {
        const { reader, clock } = this.watch;
        return new MemoryWarnings(before, { reader, clock, patterns, warn });
      },
      () => this.watch,
    );
    this.index = withWarnings(this.#deadlines, this.#warnings, patterns);
    this.watch = new NodeWatch(this, { ...parts, commands });
  }

  get tracked(): number {
    return this.#deadlines.count;
  }

  began(): void {
    this.#duplicates?.listening();
    this.#warnings.resume();
  }

  suspended(): void {
    this.#duplicates?.lost();
    this.#warnings.pause();
  }

  clockStepped(): void {
    this.#warnings.retime();
  }

  replaced(): void {
    this.#duplicates?.replaced();
  }

  heard(_event: string, redisKey: Buffer): void {
    this.#gone.delete(redisKey);
    this.#duplicates?.forget(redisKey);
  }

  written(): boolean {
    return false;
  }

  announced(redisKey: Buffer): ExpiryAnswer {
    const { clock } = this.watch;
    const at = this.#deadlines.take(redisKey) ?? this.#takeGone(redisKey);
    if (this.#duplicates?.repeats(redisKey, { isKnown: at !== undefined }))
      return 'repeat';
    const now = clock.now();
    if (at === undefined) return undefined;
    // Due later than now: another client shortened it, or Redis's clock was set. When it ran out is not known.
    if (!(at <= clock.latest())) {
      this.watch.suspectStep();
      return undefined;
    }
    return {
      deadline: new Date(at),
      lateness: Math.max(0, Math.round(now - at)),
    };
  }

  /** The look is the touch: a key whose deadline has passed expires by it, and is announced. */
  async look(due: readonly DeadlineEntry[]): Promise<void> {
    const asked = performance.now();
    const { now, ttls } = await this.watch.reader.read(
      due.map(({ key }) => key),
    );
    const roundTrip = performance.now() - asked;
    const verdicts = due.map(({ key, at }, i): Verdict => {
      const ttl = ttls[i]!;
      const lives = ttl >= 0 && this.parts.patterns.expires(key);
      return { key, seen: at, at: lives ? now + ttl : undefined };
    });
    const settled = await this.#deadlines.settle(verdicts);
    let certain: Announcements | undefined;
    let doubtful: Announcements | undefined;
    due.forEach(({ key, at }, i) => {
      if (!settled[i] || ttls[i]! >= -1) return;
      // Removed by this look, it is announced for certain; gone before, it may have been deleted.
      const announcements =
        ttls[i] === -3
          ? (certain ??= announcementsWithin(ANNOUNCEMENT_MS))
          : (doubtful ??= announcementsWithin(50 + 2 * roundTrip));
      this.#gone.set(key, { deadline: at, announcements });
    });
    // Those that were renewed may have more time left than anybody heard of.
    await this.#warnings.learn(
      due.flatMap(({ key }, i) => {
        const ttl = ttls[i]!;
        return ttl < 0 ? [] : [{ key, at: now + ttl }];
      }),
    );
  }

  /** The deadline of a key that was found gone a moment ago. */
  #takeGone(redisKey: Buffer): number | undefined {
    const gone = this.#gone.take(redisKey);
    return gone && !gone.announcements.over ? gone.deadline : undefined;
  }
}
