import type { ExpiryAnswer } from '../listening/deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import { type Announcements, announcementsWithin } from './announcements.js';
import { isDenied } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { ValueKinds } from '../dispatch/event-value.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { DeadlineEntry, Verdict } from './deadline-index.js';
import type { DeadlineJudge } from './deadline-judge.js';
import type { Patterns } from './discovery.js';
import { RecentKeys } from '../util/recent-keys.js';
import { DuplicateFilter } from './duplicate-filter.js';
import { MemoryIndex } from './memory-index.js';
import { MemoryWarnings } from './memory-warnings.js';
import { NodeWatch, type NodeWatchParts } from './node-watch.js';
import { WarningValues } from './warning-values.js';
import { type WarnedPatterns, Warnings, withWarnings } from './warnings.js';
import type { Warning } from '../listening/warning-patterns.js';
import { refusedRead } from './value-access.js';
import { type RememberedValue, ValueMemory } from './value-memory.js';
import {
  type ValueOptions,
  ValueReader,
  type ValueWishes,
} from './value-reader.js';

/** Ms for which the announcement of a key that a look removed is waited for. */
const ANNOUNCEMENT_MS = 5_000;

/** What is subscribed to, and who is told of warnings. */
export interface JudgedPatterns extends Patterns, WarnedPatterns {
  readonly warnings: WarnedPatterns['warnings'] & {
    deliver(warning: Warning): void;
    valuesFor(before: number): ValueWishes;
  };
  /** Of which keys the values are asked for. */
  readonly values: ValueWishes;
  /** Whether somebody asks for the expiry of a key. */
  expires(redisKey: Buffer): boolean;
}

/** What broadcast's judge works with. */
export interface AnnouncementParts extends Omit<
  NodeWatchParts,
  'commands' | 'inCluster' | 'patterns'
> {
  readonly patterns: JudgedPatterns;
  readonly values: ValueOptions;
  readonly counters: ExpiryCounters;
  /** A key was created. */
  readonly onCreated?: (redisKey: Buffer) => void;
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
 * node's listener. Where somebody asks for values, a key is looked at a moment before it is due, too: that look
 * takes the place of the one at its deadline if the key was renewed.
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
  readonly #values = new ValueMemory();
  readonly #reader: ValueReader;
  /** Of which types of values it was tried whether they may be read. */
  #checkedKinds: ValueKinds | undefined;

  constructor(
    private readonly node: Pick<
      RedisNode,
      'commands' | 'noticedAfter' | 'inCluster'
    >,
    private readonly parts: AnnouncementParts,
  ) {
    const { commands, noticedAfter, inCluster } = node;
    this.#duplicates =
      noticedAfter > 0 ? new DuplicateFilter(noticedAfter) : undefined;
    const { patterns } = parts;
    const warn = (warning: Warning): void => patterns.warnings.deliver(warning);
    this.#warnings = new Warnings(
      patterns,
      (before) => {
        const { reader, clock } = this.watch;
        const { counters, values: options, log } = parts;
        const values = new WarningValues(before, {
          ...{ commands, clock, counters, options, log },
          wishes: patterns.warnings.valuesFor(before),
        });
        return new MemoryWarnings(before, {
          ...{ reader, clock, patterns, values, warn },
        });
      },
      () => this.watch,
    );
    this.index = withWarnings(this.#deadlines, this.#warnings, patterns);
    this.watch = new NodeWatch(this, { ...parts, commands, inCluster });
    this.#reader = new ValueReader(this.#values, {
      ...{ commands, clock: this.watch.clock, wishes: parts.patterns.values },
      ...{ counters: parts.counters, options: parts.values, log: parts.log },
    });
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
    // What happens unheard may be the end of that life, and another one.
    this.#values.clear();
  }

  clockStepped(): void {
    this.#warnings.retime();
  }

  subscribed(): void {
    if (this.parts.patterns.values.kinds === undefined) return;
    this.#deadlines.lookAhead(this.parts.values.lead);
    void this.#checkAccess();
    // What is due by that may be sooner than what the loop waits for.
    this.watch.nudge(0);
  }

  /** Warns where values may not be read: once, before the first one is missing. */
  async #checkAccess(): Promise<void> {
    const { kinds } = this.parts.patterns.values;
    if (kinds === this.#checkedKinds) return;
    this.#checkedKinds = kinds;
    try {
      const { values } = this.parts.patterns;
      const refused = await refusedRead(this.node.commands, values);
      if (refused) this.#reader.warn(refused.text);
    } catch (error) {
      if (isDenied(error)) this.#reader.warn(reasonOf(error));
      // There is another connection soon, and it is tried by that.
      else this.#checkedKinds = undefined;
    }
  }

  enrolled(soonest: number): void {
    if (this.parts.patterns.values.kinds !== undefined)
      this.watch.nudge(soonest - this.parts.values.lead);
  }

  replaced(): void {
    this.#duplicates?.replaced();
  }

  heard(event: string, redisKey: Buffer): void {
    if (event === 'new') this.parts.onCreated?.(redisKey);
    this.#gone.delete(redisKey);
    this.#duplicates?.forget(redisKey);
    this.#values.heard(redisKey);
  }

  written(): boolean {
    return false;
  }

  announced(redisKey: Buffer): ExpiryAnswer {
    const { clock } = this.watch;
    const value = this.#takeValue(redisKey);
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
      ...(value?.deadline === at && value.value && { value: value.value }),
    };
  }

  /** The look is the touch: a key whose deadline has passed expires by it, and is announced. */
  async look(given: readonly DeadlineEntry[]): Promise<void> {
    const now = Math.floor(this.watch.clock.now());
    const due = given.filter(({ at }) => at < now);
    if (due.length > 0) await this.#lookAtDue(due);
    if (due.length < given.length)
      await this.#lookAhead(given.filter(({ at }) => at >= now));
  }

  async #lookAtDue(due: readonly DeadlineEntry[]): Promise<void> {
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

  /** Reads the values of keys that are about to run out, and moves the looks at those that were renewed. */
  async #lookAhead(entries: readonly DeadlineEntry[]): Promise<void> {
    const moved: Verdict[] = [];
    const [asked, passed]: [DeadlineEntry[], DeadlineEntry[]] = [[], []];
    for (const entry of entries)
      (this.#reader.wants(entry.key) ? asked : passed).push(entry);
    const found = await this.#reader.look(asked);
    asked.forEach(({ key, at }, i) => {
      const { deadline, isDying } = found[i]!;
      const renewed = deadline >= 0 && deadline !== at;
      if (renewed || deadline === -1)
        moved.push({ key, seen: at, at: renewed ? deadline : undefined });
      // Too early by Redis's clock: it is given out again.
      if (isDying || deadline < -1)
        passed.push({ key, at: renewed ? deadline : at });
    });
    if (moved.length > 0) await this.#deadlines.settle(moved);
    this.#deadlines.pass(passed);
    // As of keys that are due: they may have more time left than anybody heard of.
    await this.#warnings.learn(
      moved.flatMap(({ key, at }) => (at === undefined ? [] : [{ key, at }])),
    );
  }

  #takeValue(redisKey: Buffer): RememberedValue | undefined {
    if (this.#values.size === 0) return undefined;
    const text = redisKey.toString('latin1');
    const value = this.#values.get(text);
    this.#values.forget(text);
    return value;
  }

  /** The deadline of a key that was found gone a moment ago. */
  #takeGone(redisKey: Buffer): number | undefined {
    const gone = this.#gone.take(redisKey);
    return gone && !gone.announcements.over ? gone.deadline : undefined;
  }
}
