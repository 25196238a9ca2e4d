import type { Commands } from '../connection/commands.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { RETURNED } from '../scripts/returned.lua.js';
import { KeyBatch } from '../util/key-batch.js';
import { RecentKeys } from '../util/recent-keys.js';
import type { Graces } from './graces.js';
import type { GroupKeys } from './group-keys.js';

/** Keys that one script is about, and that may wait. Of one that is left out, its next expiry tells that it was back. */
const LIMITS = { batchSize: 500, capacity: 50_000 };
/** Ms for which it is remembered what was heard of a key that ran out. Later than that, it is looked whether the key is there. */
const MEMORY_MS = 60_000;
/** Instead of when its expiry was detected: it is to be looked whether the key is there. */
const UNSURE = Infinity;

/** The newest expiry of a key. */
interface Ended {
  /** When SWEEP fired it, in epoch ms by Redis's clock; undefined before. */
  readonly at: number | undefined;
  /** Its announcement was heard: a creation that is heard from now on came after it. */
  readonly isHeard: boolean;
  /** Such a creation was heard. */
  readonly isBack: boolean;
}

/** The leader's term, as far as returns are noted in it. */
export interface ReturnsTerm {
  readonly keys: Pick<GroupKeys, 'ended' | 'back'>;
  readonly graces: Pick<Graces, 'cover' | 'longest'>;
}

/**
 * Notes in Redis which keys of one node came back after they had run out, where some handler has a `grace`: a key that
 * came back may be gone again when the grace is over. Its `GroupNode` tells it what is heard, seen and fired.
 *
 * A server's announcements come in order. So a key whose creation is heard after its expiry has come back, even if it is
 * gone by now. Where the order is not known, RETURNED looks whether the key is there.
 *
 * States: *paused* (at first, and after `pause`): nothing is remembered or noted. *running* (after `resume`).
 *
 * Guarantees: what is noted is true, however late it is noted. All methods are O(1) for each key.
 */
export class Returns {
  readonly #ended = new RecentKeys<Ended>(MEMORY_MS);
  readonly #batch: KeyBatch;

  constructor(
    private readonly term: ReturnsTerm,
    commands: Commands,
    onError: (error: unknown) => void,
  ) {
    const { ended, back } = term.keys;
    const note = async (keys: Buffer[], times: number[]): Promise<void> => {
      const words = keys.flatMap((key, i) => [key, toWord(times[i]!)]);
      await commands.runNow((redis) =>
        RETURNED.run(redis, [ended, back], ...words),
      );
    };
    this.#batch = new KeyBatch(note, onError, LIMITS);
  }

  resume(): void {
    this.#batch.resume();
  }

  pause(): void {
    this.#batch.pause();
    this.#ended.clear();
  }

  /** An expiry was announced. `isExpected`: it is the one that was fired last, whose look caused that. */
  announced(redisKey: Buffer, isExpected: boolean): void {
    if (!this.term.graces.cover(redisKey)) return;
    const at = isExpected ? this.#ended.get(redisKey)?.at : undefined;
    this.#ended.set(redisKey, { at, isHeard: true, isBack: false });
  }

  /** An expiry was fired, of a handler with a grace. `isAnnounced`: its announcement was heard before. */
  fired(text: string, at: number, isAnnounced: boolean): void {
    const isBack = isAnnounced && this.#ended.get(text)?.isBack === true;
    this.#ended.set(text, { at, isHeard: isAnnounced, isBack });
    if (isBack) this.#note(text, at);
  }

  /** The key was created. */
  created(redisKey: Buffer): void {
    if (!this.term.graces.cover(redisKey)) return;
    const text = redisKey.toString('latin1');
    const ended = this.#ended.get(text);
    if (!ended?.isHeard) {
      this.#note(text, UNSURE);
      return;
    }
    this.#ended.set(text, { ...ended, isBack: true });
    if (ended.at !== undefined) this.#note(text, ended.at);
  }

  /** Keys were seen alive. */
  seen(entries: readonly DeadlineEntry[]): void {
    const { graces } = this.term;
    if (graces.longest === 0) return;
    for (const { key } of entries)
      if (graces.cover(key)) this.#note(key.toString('latin1'), UNSURE);
  }

  #note(text: string, at: number): void {
    if (!this.#batch.isFull) this.#batch.add(text, at);
  }
}

const toWord = (at: number): number | '' => (at === UNSURE ? '' : at);
