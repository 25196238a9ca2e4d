import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import type { Looked, WarningBook } from '../deadlines/warning-book.js';
import type { WarningValues } from '../deadlines/warning-values.js';
import type { WarnedPatterns } from '../deadlines/warnings.js';
import { renewedBy } from '../dispatch/expiry.js';
import { APPROACH } from '../scripts/approach.lua.js';
import { RENEWALS } from '../scripts/renewals.lua.js';
import { WARN } from '../scripts/warn.lua.js';
import { sleep } from '../util/sleep.js';
import { type GroupKeys, type WarningKeys, warningKeys } from './group-keys.js';
import { RedisIndex } from './redis-index.js';
import { toText } from './evidence.js';
import { valuesFor, wordsOf } from './swept-values.js';
import type { Forwarding } from './sweep.js';

/** Keys that one script takes. */
const CHUNK = 500;
/** Ms between two pages of a look for renewals: nobody waits for it. */
const PAUSE_MS = 2;

/** The leader's term in which keys are warned of, as `StoredWarnings` sees it. */
export interface WarningTerm {
  /** The fencing token. */
  readonly token: string;
  /** Of the partition. */
  readonly keys: GroupKeys;
  /** To the node that serves it, as long as the term lasts. */
  readonly commands: Commands;
  /** That node's time; each look sets it. */
  readonly clock: RedisClock;
  readonly registry: WarnedPatterns;
  readonly values: Pick<WarningValues, 'read'>;
}

/**
 * What a group knows of the keys that it is to warn of, for one `before`, in one partition: two sorted sets in Redis, which outlive
 * every instance. Each leader's term has its own view of them, for each `before`.
 *
 * Guarantees: the warning is appended, and what is known of the key changed, in one step, which only the holder of the
 * lease can make. So there is one for each deadline, whatever is killed or sent twice in between.
 */
export class StoredWarnings implements WarningBook {
  readonly #keys: WarningKeys;
  readonly #ahead: RedisIndex;

  /** @param forwarder on a Cluster: brings what is `away` to where its keys are */
  constructor(
    private readonly before: number,
    private readonly term: WarningTerm,
    private readonly forwarder?: Forwarding & { stop(): void },
  ) {
    const { keys, commands } = term;
    this.#keys = warningKeys(keys.warnings, before);
    this.#ahead = new RedisIndex(commands, {
      ...keys,
      index: this.#keys.ahead,
    });
  }

  readonly peek: WarningBook['peek'] = (now, limit) =>
    this.#ahead.peek(now, limit);

  async learn(entries: readonly DeadlineEntry[]): Promise<number | undefined> {
    const { lease, befores } = this.term.keys;
    const { ahead, within } = this.#keys;
    let soonest: number | undefined;
    for (let i = 0; i < entries.length; i += CHUNK) {
      const chunk = entries.slice(i, i + CHUNK);
      const reply = await this.term.commands.run((redis) =>
        APPROACH.run(
          redis,
          [lease, ahead, within, befores],
          ...[this.term.token, this.before, renewedBy(this.before)],
          ...chunk.flatMap(({ key, at, learnt }) => [key, at, learnt ?? '']),
        ),
      );
      soonest = sooner(soonest, reply);
    }
    return soonest;
  }

  async look(due: readonly DeadlineEntry[], since: number): Promise<Looked> {
    const { lease, events } = this.term.keys;
    const { ahead, within, away } = this.#keys;
    const keys = due.map(({ key }) => key);
    const { clock } = this.term;
    const read = valuesFor(await this.term.values.read(due), keys.map(toText));
    const { valued, words } = wordsOf(read, keys.length);
    const sent = clock.mark();
    const run = (redis: Redis): Promise<unknown> =>
      WARN.run(
        redis,
        [lease, events, ahead, within, ...(this.forwarder ? [away] : [])],
        ...[this.term.token, this.before, renewedBy(this.before), since],
        ...[this.#wanted(keys), valued, ...words, ...keys],
      );
    const reply = await this.term.commands.runNow(run);
    const [now, soonest, codes] = reply as [number, number, string];
    clock.read(now, sent);
    if (codes.includes('m')) this.forwarder?.nudge();
    return {
      soonest: sooner(undefined, soonest),
      isWithin: codes.includes('w'),
    };
  }

  async recheck(seen: number, goesOn: () => boolean): Promise<Looked> {
    const { lease, befores } = this.term.keys;
    const { ahead, within, away } = this.#keys;
    let soonest: number | undefined;
    let isWithin = false;
    const isAsked = this.term.registry.warnings.befores.has(this.before);
    let cursor = '0';
    do {
      const reply = await this.term.commands.runNow((redis) =>
        RENEWALS.run(
          redis,
          [lease, ahead, within, befores, away],
          ...[this.term.token, this.before, renewedBy(this.before)],
          ...[Math.max(0, seen), cursor, CHUNK, isAsked ? 1 : 0],
        ),
      );
      const [next, first, left] = reply as [string, number, number];
      soonest = sooner(soonest, first);
      isWithin = left > 0;
      cursor = next;
      if (cursor !== '0') await sleep(PAUSE_MS);
    } while (cursor !== '0' && goesOn());
    return { soonest, isWithin };
  }

  close(): void {
    this.forwarder?.stop();
  }

  /** Of each key one character, or '' for the common case, in which somebody asks for all of them. */
  #wanted(keys: readonly Buffer[]): string {
    const { registry } = this.term;
    const wanted = keys.map((key) =>
      registry.warns(key, this.before) ? '1' : '0',
    );
    return wanted.includes('0') ? wanted.join('') : '';
  }
}

/** The sooner of two moments; `other` is what a script says: -1 for none. */
function sooner(one: number | undefined, other: unknown): number | undefined {
  const moment = Number(other);
  return moment < 0 ? one : Math.min(one ?? Infinity, moment);
}
