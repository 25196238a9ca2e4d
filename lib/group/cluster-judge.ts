import type { Verdict } from '../deadlines/deadline-index.js';
import type { TtlReader } from '../deadlines/ttl-reader.js';
import { Mutex } from '../util/mutex.js';
import type { Redirector } from './redirector.js';
import { type Evidence, toText } from './evidence.js';
import type { GapBook } from './gap-book.js';
import type { RedisIndex } from './redis-index.js';
import type { Settling } from './settling.js';
import { type Look, type Suspect, type Verdicts, isNews } from './verdicts.js';

/** Keys that one script looks at: some hundreds of microseconds of the server's time. */
const CHUNK = 500;

export interface JudgeOptions {
  readonly index: Pick<RedisIndex, 'scores'>;
  readonly settling: Pick<Settling, 'prepare' | 'settle'>;
  readonly reader: Pick<TtlReader, 'readProven' | 'readAsking'>;
  readonly evidence: Evidence;
  readonly verdicts: Verdicts;
  readonly gaps: GapBook;
  /** Whether the server announces nothing, as far as can be known. */
  readonly isSilent: () => boolean;
  /** Resolves once all that Redis announced before now has been heard; rejects if that cannot be known. */
  readonly barrier: () => Promise<void>;
  /** Whether anybody still asks for the key. */
  readonly wanted: (key: Buffer) => boolean;
  /** All that was announced of these keys, in latin1, was taken into account. */
  readonly onSettled: (keys: string[]) => void;
  /** What the index says of these may be older than what was written since they were looked at: their deadlines are to be learnt anew. */
  readonly relearn: (keys: Buffer[]) => void;
  /** An expiry is proven, but the index no longer holds what was seen of these keys: they are to be looked at again. */
  readonly onRefused: (keys: Buffer[]) => void;
  /** For keys that another node serves. */
  readonly elsewhere: Pick<Redirector, 'judge' | 'lives'>;
  /** Keys are to be looked at again; the soonest of them then. */
  readonly onLater: (soonest: number) => void;
}

/**
 * On a Cluster, where keys live on other nodes than the group's index: looks at keys and settles what it finds: alive, look again then; gone, and it expired
 * or was deleted. See `Verdicts` for which.
 *
 * Guarantees: one look at a time; an expiry that it proves is appended once, by whoever holds the
 * lease; nothing is settled as deleted before all announcements up to the look were heard.
 */
export class ClusterJudge {
  readonly #mutex = new Mutex();

  constructor(private readonly options: JudgeOptions) {}

  /** Looks at keys that are due. */
  judgeDue(due: readonly { key: Buffer; at: number }[]): Promise<void> {
    const seen = new Map(due.map(({ key, at }) => [key, at]));
    return this.#judgeAll([...seen.keys()], seen);
  }

  /** Looks at keys to which something happened, whether the index knows them or not. `asking`: they are on their way to this node. */
  async judge(
    keys: readonly Buffer[],
    asking = false,
    hops = 0,
  ): Promise<void> {
    for (const chunk of chunks(keys))
      await this.#judgeAll(chunk, undefined, asking, hops);
  }

  /** `seen`: with which score each was found, if that is known. */
  async #judgeAll(
    keys: readonly Buffer[],
    seen: ReadonlyMap<Buffer, number> | undefined,
    asking = false,
    hops = 0,
  ): Promise<void> {
    const { settling, elsewhere, evidence } = this.options;
    const { generation } = evidence;
    const away = await this.#inTurn(generation, async () => {
      const isChanged = await settling.prepare();
      const suspects =
        seen && !isChanged
          ? keys.map((key) => ({ key, seen: seen.get(key) }))
          : await this.#suspects(keys);
      return this.#judge(suspects, asking);
    });
    // Not while others wait here: the other node may have something to hand over, too.
    if (away.length > 0) await elsewhere.judge(away, hops);
  }

  /** `generation`: of the evidence when the work was asked for. */
  #inTurn<T>(generation: number, work: () => Promise<T>): Promise<T> {
    return this.#mutex.run(() => {
      // It waited for its turn; to look while nobody listens would destroy evidence.
      if (generation !== this.options.evidence.generation)
        throw new Error('listening was lost');
      return work();
    });
  }

  async #suspects(keys: readonly Buffer[]): Promise<Suspect[]> {
    const scores = await this.options.index.scores(keys);
    return keys.map((key, i) => ({ key, seen: scores[i] }));
  }

  /** Resolves with the keys that another node serves and has to judge. */
  async #judge(
    suspects: readonly Suspect[],
    asking: boolean,
  ): Promise<Buffer[]> {
    const { reader, evidence, verdicts } = this.options;
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
    if (suspects.some((suspect, i) => verdicts.isOpen(suspect, ttls[i]!)))
      await this.#awaitAnnounced();
    const { looks, elsewhere } = await this.#sort(suspects, ttls, before);
    if (generation !== evidence.generation)
      throw new Error('listening was lost');
    await this.#settle(looks, now);
    return elsewhere;
  }

  /** What this node has to judge, and what another one has to: of a key that is not here, this one knows that it expired here or nothing. */
  async #sort(
    suspects: readonly Suspect[],
    ttls: readonly number[],
    before: readonly number[],
  ): Promise<{ looks: Look[]; elsewhere: Buffer[] }> {
    const { evidence } = this.options;
    const looks: Look[] = [];
    const elsewhere: Buffer[] = [];
    for (const [i, suspect] of suspects.entries()) {
      let ttl = ttls[i]!;
      if (ttl === -4 && !evidence.isProven(toText(suspect.key))) {
        elsewhere.push(suspect.key);
        continue;
      }
      if (ttl === -4)
        ttl = (await this.options.elsewhere.lives(suspect.key)) ? -1 : -2;
      looks.push({ suspect, ttl, before: before[i]! });
    }
    return { looks, elsewhere };
  }

  async #settle(looks: readonly Look[], now: number): Promise<void> {
    const { evidence, settling, onLater } = this.options;
    const { generation } = evidence;
    // An announcement that comes while this is settled is of a later life.
    const heard = new Map<Verdict, number>();
    for (const look of looks) {
      const { suspect, ttl, before } = look;
      const known = evidence.announced(toText(suspect.key));
      heard.set(
        this.options.verdicts.on(look, now),
        ttl >= -1 ? before : known,
      );
    }
    const all = [...heard.keys()];
    const [news, olds] = partition(all, (each) => isNews(each, now));
    this.#conclude(olds, heard);
    const settled = settling.settle(news, now, {
      isFresh: () => generation === evidence.generation,
      onAnswer: (answered, applied, isLate) => {
        this.#relearn(isLate ? answered : answered.filter(isRemoval));
        if (generation !== evidence.generation) return;
        const [done, refused] = partition(answered, (_, i) => applied[i]!);
        this.#conclude(done, heard);
        this.#lookAgainAtRefused(refused);
      },
      onForgotten: (verdicts) => this.#relearn(verdicts),
    });
    await settled.catch((error: unknown) => {
      // It may be done though no answer came.
      this.#relearn(news.filter(isRemoval));
      throw error;
    });
    onLater(all.reduce((a, { at }) => Math.min(a, at ?? Infinity), Infinity));
  }

  /** What proved these is used up: so many announcements of each. */
  #conclude(
    verdicts: readonly Verdict[],
    heard: ReadonlyMap<Verdict, number>,
  ): void {
    const { evidence, onSettled } = this.options;
    const texts = verdicts
      .filter((each) => evidence.settle(toText(each.key), heard.get(each)!))
      .map(({ key }) => toText(key));
    if (texts.length > 0) onSettled(texts);
  }

  #relearn(verdicts: readonly Verdict[]): void {
    const { relearn, wanted } = this.options;
    const keys = verdicts.map(({ key }) => key).filter(wanted);
    if (keys.length > 0) relearn(keys);
  }

  /** These were enrolled anew meanwhile, or settled by another node: judged with what is known then. */
  #lookAgainAtRefused(verdicts: readonly Verdict[]): void {
    const proven = verdicts.filter(({ fire }) => fire !== undefined);
    if (proven.length > 0) this.options.onRefused(proven.map(({ key }) => key));
  }

  /** Where the server announces nothing as it seems, it may do so all the same. */
  async #awaitAnnounced(): Promise<void> {
    const { barrier, isSilent } = this.options;
    await barrier().catch((error: unknown) => {
      if (!isSilent()) throw error;
    });
  }
}

/** It takes an entry out of the index, a moment after the look. */
const isRemoval = ({ seen, at }: Verdict): boolean =>
  seen !== undefined && at === undefined;

function* chunks(keys: readonly Buffer[]): Generator<readonly Buffer[]> {
  for (let i = 0; i < keys.length; i += CHUNK) yield keys.slice(i, i + CHUNK);
}

/** Those for which it holds, and the others. */
function partition<T>(
  all: readonly T[],
  holds: (each: T, i: number) => boolean | undefined,
): [T[], T[]] {
  const [those, others]: [T[], T[]] = [[], []];
  for (const [i, each] of all.entries())
    (holds(each, i) ? those : others).push(each);
  return [those, others];
}
