import type { Verdict } from '../deadlines/deadline-index.js';
import type { TtlReader } from '../deadlines/ttl-reader.js';
import type { ExpiryCounters } from '../handlers/counters.js';
import type { Elsewhere } from './elsewhere.js';
import type { Evidence } from './evidence.js';
import type { GapBook } from './gap-book.js';
import type { RedisIndex } from './redis-index.js';
import type { Sweep } from './sweep.js';

/** A key to look at, and the score it was found with; undefined if it is not in the index. */
export interface Suspect {
  readonly key: Buffer;
  readonly seen: number | undefined;
}

/** What was found of a suspect: its time to live, and how often it had been announced before. */
interface Look {
  readonly suspect: Suspect;
  readonly ttl: number;
  readonly before: number;
}

export interface JudgeOptions {
  readonly index: RedisIndex;
  readonly reader: Pick<TtlReader, 'readProven' | 'readAsking'>;
  /** Looks and settles in one step; undefined where keys live on other servers than the index. */
  readonly sweep: Pick<Sweep, 'prepare' | 'look'> | undefined;
  readonly evidence: Evidence;
  readonly gaps: GapBook;
  readonly counters: ExpiryCounters;
  /** Whether the server announces nothing, as far as can be known. */
  readonly isSilent: () => boolean;
  /** Where it is silent: whether a deletion of a key with this deadline would have been found out before. */
  readonly previewed: (at: number) => boolean;
  /** Resolves once all that Redis announced before now has been heard; rejects if that cannot be known. */
  readonly barrier: () => Promise<void>;
  /** Whether anybody still asks for the key. */
  readonly wanted: (key: Buffer) => boolean;
  /** All that was announced of these keys, in latin1, was taken into account. */
  readonly onSettled: (keys: string[]) => void;
  /** These left the index, a moment after they were looked at: what was written in between may need a new entry. */
  readonly onGone: (keys: Buffer[]) => void;
  /** An expiry is proven, but the index no longer holds what was seen of these keys: they are to be looked at again. */
  readonly onRefused: (keys: Buffer[]) => void;
  /** For keys that another node serves. */
  readonly elsewhere: Pick<Elsewhere, 'judge' | 'lives'>;
  /** Keys are to be looked at again; the soonest of them then. */
  readonly onLater: (soonest: number) => void;
}

/**
 * Looks at keys of a group and settles what it finds: alive, look again then; gone, and it expired
 * or was deleted. Gone counts as expired on one of three proofs only: this very look removed it,
 * Redis announced it, or nobody listened at its deadline.
 *
 * | the look finds      | announced, or removed by a look | its score in a gap  | neither             |
 * | ------------------- | ------------------------------ | ------------------- | ------------------- |
 * | alive               | superseded, look again later   | look again later    | look again later    |
 * | gone, score is due  | expired                        | expired (recovery)  | deleted             |
 * | gone, score ahead   | expired, deadline unknown      | deleted             | deleted             |
 * | gone, no score      | expired, deadline unknown      | nothing             | nothing             |
 *
 * Guarantees: one look at a time; an expiry that it proves is appended once, by whoever holds the
 * lease; nothing is settled as deleted before all announcements up to the look were heard.
 */
export class Judge {
  /** Scores under which an expiry was settled without an answer: gone from the index, they were. */
  readonly #unanswered = new Map<string, number>();
  /** Keys that no score tells of, and that are being appended. */
  readonly #appending = new Set<string>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: JudgeOptions) {}

  /** Nothing more is heard. */
  forget(): void {
    this.options.evidence.forget();
    this.#unanswered.clear();
    this.#appending.clear();
  }

  /** Looks at keys that are due. */
  judgeDue(due: readonly { key: Buffer; at: number }[]): Promise<void> {
    const seen = new Map(due.map(({ key, at }) => [key, at]));
    return this.#judgeAll([...seen.keys()], (keys) =>
      Promise.resolve(keys.map((key) => ({ key, seen: seen.get(key) }))),
    );
  }

  /** Looks at keys to which something happened, whether the index knows them or not. `asking`: they are on their way to this node. */
  judgeKeys(keys: readonly Buffer[], asking = false, hops = 0): Promise<void> {
    return this.#judgeAll(
      keys,
      async (left) => {
        const scores = await this.options.index.scores(left);
        return left.map((key, i) => ({ key, seen: scores[i] }));
      },
      asking,
      hops,
    );
  }

  async #judgeAll(
    keys: readonly Buffer[],
    suspectsOf: (keys: readonly Buffer[]) => Promise<readonly Suspect[]>,
    asking = false,
    hops = 0,
  ): Promise<void> {
    const elsewhere = await this.#exclusively(async () => {
      const left = await this.#sweep(keys);
      if (left.length === 0) return [];
      return this.#judge(await suspectsOf(left), asking);
    });
    // Not while others wait here: the other node may have something to hand over, too.
    if (elsewhere.length > 0)
      await this.options.elsewhere.judge(elsewhere, hops);
  }

  /** Settles in one step what can be. Resolves with what is left to look at. */
  async #sweep(keys: readonly Buffer[]): Promise<readonly Buffer[]> {
    const { sweep, gaps, isSilent, wanted } = this.options;
    if (!sweep) return keys;
    await this.#reconsiderAppended();
    await sweep.prepare();
    if (isSilent() || !gaps.isEmpty) return keys;
    const left: Buffer[] = [];
    const clear = keys.filter((key) => {
      const isClear = wanted(key) && !this.#unanswered.has(toText(key));
      if (!isClear) left.push(key);
      return isClear;
    });
    if (clear.length > 0) await sweep.look(clear);
    return left;
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  /** Resolves with the keys that another node serves and has to judge. */
  async #judge(
    suspects: readonly Suspect[],
    asking: boolean,
  ): Promise<Buffer[]> {
    const { index, reader, evidence } = this.options;
    await this.#reconsiderAppended();
    for (const suspect of suspects) this.#reconsider(suspect);
    const keys = suspects.map(({ key }) => key);
    const texts = keys.map(toText);
    // Only what was announced before the look can speak of a key that the look found alive.
    const before = texts.map((text) => evidence.announced(text));
    const { generation } = evidence;
    const { now, ttls } = asking
      ? await reader.readAsking(keys)
      : await reader.readProven(keys);
    if (generation !== evidence.generation)
      throw new Error('listening was lost');
    evidence.removed(texts.filter((_, i) => ttls[i] === -3));
    if (suspects.some((suspect, i) => this.#unproven(suspect, ttls[i]!)))
      await this.#awaitAnnounced();
    const { looks, elsewhere } = await this.#sort(suspects, ttls, before);
    if (generation !== evidence.generation)
      throw new Error('listening was lost');
    await this.#settle(looks, now, index);
    return elsewhere;
  }

  /** What this node has to judge, and what another one has to: of a key that is not here, this one knows that it expired here or nothing. */
  async #sort(
    suspects: readonly Suspect[],
    ttls: readonly number[],
    before: readonly number[],
  ): Promise<{ looks: Look[]; elsewhere: Buffer[] }> {
    const looks: Look[] = [];
    const elsewhere: Buffer[] = [];
    for (const [i, suspect] of suspects.entries()) {
      let ttl = ttls[i]!;
      if (ttl === -4 && !this.#isProven(suspect.key)) {
        elsewhere.push(suspect.key);
        continue;
      }
      if (ttl === -4)
        ttl = (await this.options.elsewhere.lives(suspect.key)) ? -1 : -2;
      looks.push({ suspect, ttl, before: before[i]! });
    }
    return { looks, elsewhere };
  }

  async #settle(
    looks: readonly Look[],
    now: number,
    index: RedisIndex,
  ): Promise<void> {
    const { evidence, onGone } = this.options;
    const verdicts = looks.map((look) => this.#verdictOn(look, now));
    // An announcement that comes while this is settled is of a later life.
    const heard = looks.map(({ suspect, ttl, before }) =>
      ttl >= -1 ? before : evidence.announced(toText(suspect.key)),
    );
    for (const { key, seen, fire } of verdicts)
      if (fire && seen !== undefined) this.#unanswered.set(toText(key), seen);
      else if (fire) this.#appending.add(toText(key));
    const news = verdicts.filter((verdict) => isNews(verdict, now));
    const gone = looks.filter(
      ({ suspect, ttl }) => ttl < 0 && suspect.seen !== undefined,
    );
    // It may be done though no answer comes.
    const answers = await index
      .settle(news, now)
      .finally(() => onGone(gone.map(({ suspect }) => suspect.key)));
    this.#appending.clear();
    const refused = new Set(news.filter((_, i) => !answers[i]));
    const done: string[] = [];
    verdicts.forEach((verdict, i) => {
      const text = toText(verdict.key);
      this.#unanswered.delete(text);
      // It was enrolled anew meanwhile, or settled by another node: judged with what is known then.
      if (refused.has(verdict)) return;
      if (evidence.settle(text, heard[i]!)) done.push(text);
    });
    this.options.onSettled(done);
    const proven = [...refused].filter(({ fire }) => fire !== undefined);
    if (proven.length > 0) this.options.onRefused(proven.map(({ key }) => key));
    this.options.onLater(
      verdicts.reduce((a, { at }) => Math.min(a, at ?? Infinity), Infinity),
    );
  }

  /** Where the server announces nothing as it seems, it may do so all the same. */
  async #awaitAnnounced(): Promise<void> {
    const { barrier, isSilent } = this.options;
    await barrier().catch((error: unknown) => {
      if (!isSilent()) throw error;
    });
  }

  /** The same for keys that no score tells of: Redis noted the request. */
  async #reconsiderAppended(): Promise<void> {
    if (this.#appending.size === 0) return;
    if (await this.options.index.wasApplied())
      for (const text of this.#appending) this.options.evidence.spend(text);
    this.#appending.clear();
  }

  /** Was it settled though no answer came? Then what proved it proves nothing more. */
  #reconsider({ key, seen }: Suspect): void {
    const text = toText(key);
    const unanswered = this.#unanswered.get(text);
    if (unanswered === undefined || unanswered === seen) return;
    this.#unanswered.delete(text);
    this.options.evidence.spend(text);
  }

  #isProven(key: Buffer): boolean {
    return this.options.evidence.isProven(toText(key));
  }

  /** Gone, and its announcement may still be under way: by the other connection. */
  #unproven({ key, seen }: Suspect, ttl: number): boolean {
    const missing = ttl === -2 && seen !== undefined;
    return (missing || ttl === -4) && !this.#isProven(key);
  }

  #verdictOn({ suspect, ttl, before }: Look, now: number): Verdict {
    const { key, seen } = suspect;
    if (ttl >= -1) {
      // It lapsed and was written again before anybody could look.
      if (before > 0 || this.options.evidence.wasRemoved(toText(key))) {
        this.options.counters.received++;
        this.options.counters.superseded++;
      }
      const lives = ttl >= 0 && this.options.wanted(key);
      return { key, seen, at: lives ? now + ttl : undefined };
    }
    const gone = { key, seen, at: undefined };
    const due = seen !== undefined && seen <= now;
    const inGap = due && this.options.gaps.covers(seen);
    if (!inGap && !this.#isProven(key)) return gone;
    return {
      ...gone,
      fire: {
        source: inGap && !this.#isTimely(seen) ? 'recovery' : 'notification',
        // Gone before the index expected it: another client shortened it, or it was not known.
        deadline: due ? seen : undefined,
      },
    };
  }

  /** Though nobody listened, it was looked after: it was there a moment before its deadline. */
  #isTimely(seen: number): boolean {
    const { isSilent, previewed } = this.options;
    return isSilent() && previewed(seen);
  }
}

const toText = (key: Buffer): string => key.toString('latin1');

/** A key that lives no shorter than is known needs no new score before it is due. */
const isNews = (verdict: Verdict, now: number): boolean => {
  const { seen, at, fire } = verdict;
  if (fire) return true;
  if (seen === undefined || at === undefined) return seen !== at;
  return at < seen || seen <= now;
};
