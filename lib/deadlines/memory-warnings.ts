import { renewedBy } from '../dispatch/expiry.js';
import type { Warning } from '../listening/warning-patterns.js';
import type { DeadlineEntry, Verdict } from './deadline-index.js';
import { MemoryIndex } from './memory-index.js';
import type { TtlReader } from './ttl-reader.js';
import type { Looked, WarningBook } from './warning-book.js';
import type { WarningValues } from './warning-values.js';
import type { WarnedPatterns } from './warnings.js';

/** Keys that one look for renewals takes. */
const BATCH_SIZE = 500;

/** What `MemoryWarnings` works with. */
export interface MemoryWarningsParts {
  readonly reader: Pick<TtlReader, 'read'>;
  readonly clock: { now(): number };
  readonly patterns: WarnedPatterns;
  readonly values: Pick<WarningValues, 'read'>;
  /** Hands a warning to whoever asked for it. */
  readonly warn: (warning: Warning) => void;
}

/**
 * What one instance knows of the keys that it is to warn of, for one `before`: for broadcast. It forgets with its process.
 */
export class MemoryWarnings implements WarningBook {
  /** Those that are ahead, by when to look at them. */
  readonly #ahead = new MemoryIndex();
  /** Those that are within, in latin1, by the deadline that was warned of. */
  readonly #within = new Map<string, number>();

  constructor(
    private readonly before: number,
    private readonly parts: MemoryWarningsParts,
  ) {}

  readonly peek: WarningBook['peek'] = (now, limit) =>
    this.#ahead.peek(now, limit);

  async learn(entries: readonly DeadlineEntry[]): Promise<number | undefined> {
    const now = this.parts.clock.now();
    const looks = entries.flatMap((entry) => this.#learnOne(entry, now));
    await this.#ahead.enrol(looks);
    return soonestOf(looks);
  }

  async look(due: readonly DeadlineEntry[], since: number): Promise<Looked> {
    const { before } = this;
    const { reader, patterns, warn } = this.parts;
    const values = await this.parts.values.read(due);
    const { now, ttls } = await reader.read(due.map(({ key }) => key));
    const later: DeadlineEntry[] = [];
    const warned: Warning[] = [];
    const verdicts = due.map(({ key, at }, i): Verdict => {
      const ttl = ttls[i]!;
      const lives = ttl >= 0 && patterns.warns(key, before);
      if (lives && ttl > before) {
        later.push({ key, at: now + ttl - before });
        return { key, seen: at, at: now + ttl - before };
      }
      if (lives && this.#isNews(key, now + ttl)) {
        const missed = now + ttl - before < since;
        const source = missed ? 'recovery' : 'notification';
        const times = { deadline: now + ttl, detected: now };
        const value = values.of(key.toString('latin1'), now + ttl);
        warned.push({ redisKey: key, before, source, value, ...times });
      }
      return { key, seen: at, at: undefined };
    });
    await this.#ahead.settle(verdicts);
    for (const warning of warned) {
      const { redisKey, deadline } = warning;
      this.#within.set(redisKey.toString('latin1'), deadline);
      warn(warning);
    }
    return { soonest: soonestOf(later), isWithin: this.#within.size > 0 };
  }

  async recheck(seen: number, goesOn: () => boolean): Promise<Looked> {
    const looks: DeadlineEntry[] = [];
    const all = [...this.#within];
    for (let i = 0; i < all.length && goesOn(); i += BATCH_SIZE) {
      const batch = all.slice(i, i + BATCH_SIZE);
      const keys = batch.map(([text]) => Buffer.from(text, 'latin1'));
      const { now, ttls } = await this.parts.reader.read(keys);
      batch.forEach(([text, warned], j) => {
        const ttl = ttls[j]!;
        // Learnt anew meanwhile.
        if (this.#within.get(text) !== warned) return;
        if (ttl < 0) this.#within.delete(text);
        else if (this.#mayHaveLeft(warned, now + ttl, now, seen)) {
          // Until then its deadline may be set back to the one that was told.
          if (ttl > this.before && warned < now) this.#within.delete(text);
          looks.push({ key: keys[j]!, at: now + ttl - this.before });
        } else if (now + ttl > warned) this.#within.set(text, now + ttl);
      });
    }
    await this.#ahead.enrol(looks);
    return { soonest: soonestOf(looks), isWithin: this.#within.size > 0 };
  }

  /** When to look at a key whose deadline was learnt, if at all. */
  #learnOne({ key, at, learnt }: DeadlineEntry, now: number): DeadlineEntry[] {
    const text = key.toString('latin1');
    const warned = this.#within.get(text);
    const look = { key, at: at - this.before };
    if (at - now > this.before) {
      return this.#isNews(key, at) ? [look] : [];
    }
    if (learnt === 'created') {
      // Another life, which never had more left.
      this.#ahead.take(key);
      this.#within.delete(text);
      return [];
    }
    // Its time was shortened.
    if (this.#ahead.has(key)) return [look];
    if (learnt === 'renewed' && warned !== undefined && at > warned)
      this.#within.set(text, at);
    return [];
  }

  /** Whether a key was not warned of by this deadline. */
  #isNews(key: Buffer, deadline: number): boolean {
    const warned = this.#within.get(key.toString('latin1'));
    return (
      warned === undefined ||
      Math.abs(deadline - warned) > renewedBy(this.before)
    );
  }

  /** Whether a key had more than `before` left since it was warned of, as far as can be known. */
  #mayHaveLeft(
    warned: number,
    deadline: number,
    now: number,
    seen: number,
  ): boolean {
    if (deadline <= warned + renewedBy(this.before)) return false;
    const from = Math.max(seen, warned - this.before);
    return deadline - Math.min(from, now) > this.before;
  }
}

const soonestOf = (entries: readonly DeadlineEntry[]): number | undefined =>
  entries.length === 0
    ? undefined
    : entries.reduce((soonest, { at }) => Math.min(soonest, at), Infinity);
