import type { ExpiryAnswer } from '../listening/deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import { type Announcements, announcementsWithin } from './announcements.js';
import type { DeadlineEntry, Verdict } from './deadline-index.js';
import type { DeadlineJudge } from './deadline-judge.js';
import { RecentKeys } from '../util/recent-keys.js';
import { DuplicateFilter } from './duplicate-filter.js';
import { MemoryIndex } from './memory-index.js';
import { NodeWatch, type NodeWatchParts } from './node-watch.js';

/** Ms for which the announcement of a key that a look removed is waited for. */
const ANNOUNCEMENT_MS = 5_000;

/** A key that was found gone, and whether its expiry may still be announced because of that look. */
interface Gone {
  readonly deadline: number;
  readonly announcements: Announcements;
}

/**
 * Broadcast's judge of one node: an announcement of Redis is the event, and nothing else is. It looks at
 * each key when it is due, because the look makes Redis expire the key and announce it at once, and it
 * tells how late each announcement was. `Broadcast` makes one for each node and hands its `watch` to the
 * node's listener.
 *
 * States are those of `NodeWatch`. While the server announces nothing there is nothing to bring forward,
 * so it does not look then.
 */
export class AnnouncementJudge implements DeadlineJudge {
  readonly index = new MemoryIndex();
  readonly looksInSilence = false;
  readonly watch: NodeWatch;
  /** Keys that were found gone: the announcement may come after the answer to the look that caused it. */
  readonly #gone = new RecentKeys<Gone>(ANNOUNCEMENT_MS);
  /** Set where another server may take this one's place unnoticed. */
  readonly #duplicates: DuplicateFilter | undefined;

  constructor(
    { commands, noticedAfter }: Pick<RedisNode, 'commands' | 'noticedAfter'>,
    private readonly parts: Omit<NodeWatchParts, 'commands'>,
  ) {
    this.#duplicates =
      noticedAfter > 0 ? new DuplicateFilter(noticedAfter) : undefined;
    this.watch = new NodeWatch(this, { ...parts, commands });
  }

  get tracked(): number {
    return this.index.count;
  }

  began(): void {
    this.#duplicates?.listening();
  }

  suspended(): void {
    this.#duplicates?.lost();
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
    const at = this.index.take(redisKey) ?? this.#takeGone(redisKey);
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
      const lives = ttl >= 0 && this.parts.patterns.matches(key);
      return { key, seen: at, at: lives ? now + ttl : undefined };
    });
    const settled = await this.index.settle(verdicts);
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
  }

  /** The deadline of a key that was found gone a moment ago. */
  #takeGone(redisKey: Buffer): number | undefined {
    const gone = this.#gone.take(redisKey);
    return gone && !gone.announcements.over ? gone.deadline : undefined;
  }
}
