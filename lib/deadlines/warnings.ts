import type { DeadlineEntry } from './deadline-index.js';
import type { DeadlineJudge } from './deadline-judge.js';
import type { WarningBook } from './warning-book.js';
import { type WarnedNode, WarningWatch } from './warning-watch.js';

/** Who asked to be warned; the registry of subscriptions tells it. */
export interface WarnedPatterns {
  readonly warnings: { readonly befores: ReadonlySet<number> };
  /** Whether somebody asks for warnings of a key, so many ms before its deadline. */
  warns(redisKey: Buffer, before?: number): boolean;
}

/** Opens what is known of the keys for one `before`. */
export type OpenBook = (before: number) => WarningBook;

/**
 * All warnings of one node's keys: what is learnt of deadlines comes in, and each `before` that somebody asks for has a watch of
 * its own. The node's judge has it.
 *
 * States: paused (at first) ⇄ running, as all of its watches. A watch is made when its `before` is first asked for; one
 * that nobody asks for any more looks at what it still has, drops it, and ends when something is learnt after that.
 */
export class Warnings {
  readonly #watches = new Map<number, WarningWatch>();
  #isRunning = false;

  constructor(
    private readonly patterns: WarnedPatterns,
    private readonly open: OpenBook,
    private readonly node: () => WarnedNode,
  ) {}

  /** Deadlines were learnt, of keys that somebody is to be warned of or not. */
  async learn(entries: readonly DeadlineEntry[]): Promise<void> {
    const { patterns } = this;
    const { befores } = patterns.warnings;
    this.#endIdle(befores);
    await Promise.all(
      [...befores].map(async (before) => {
        const wanted = entries.filter(({ key }) => patterns.warns(key, before));
        if (wanted.length > 0) await this.#watchOf(before).learn(wanted);
      }),
    );
  }

  /** The clock is known. `befores`: others of which something is known, though nobody may ask for them any more. */
  resume(befores: Iterable<number> = []): void {
    this.#isRunning = true;
    for (const before of [...this.patterns.warnings.befores, ...befores])
      this.#watchOf(before);
    for (const watch of this.#watches.values()) watch.resume();
  }

  pause(): void {
    this.#isRunning = false;
    for (const watch of this.#watches.values()) watch.pause();
  }

  /** Something may be due then, by Redis's clock, that another one brought. */
  nudge(before: number, at: number): void {
    this.#watches.get(before)?.nudge(at);
  }

  /** Redis's clock goes otherwise than it was taken to. */
  retime(): void {
    for (const watch of this.#watches.values()) watch.retime();
  }

  /** Ends the watches that nobody asks for, and that know of no key. */
  #endIdle(asked: ReadonlySet<number>): void {
    for (const [before, watch] of this.#watches) {
      if (asked.has(before) || !watch.isIdle) continue;
      watch.end();
      this.#watches.delete(before);
    }
  }

  #watchOf(before: number): WarningWatch {
    const known = this.#watches.get(before);
    if (known) return known;
    const watch = new WarningWatch(before, this.open(before), this.node());
    this.#watches.set(before, watch);
    if (this.#isRunning) watch.resume();
    return watch;
  }
}

/** An index of deadlines with the warnings beside it, as discovery and the loop see them: each is told of what it is for. */
export const withWarnings = (
  index: DeadlineJudge['index'],
  warnings: Pick<Warnings, 'learn'>,
  patterns: { expires(redisKey: Buffer): boolean },
): DeadlineJudge['index'] => ({
  zsetFor: (keys) =>
    keys.every((key) => patterns.expires(key))
      ? index.zsetFor?.(keys)
      : undefined,
  enrol: async (entries, isNoted) => {
    const ending = entries.filter(({ key }) => patterns.expires(key));
    await Promise.all([index.enrol(ending, isNoted), warnings.learn(entries)]);
  },
  peek: (now, limit) => index.peek(now, limit),
});
