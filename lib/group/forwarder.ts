import type { Commands } from '../connection/commands.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { readTime } from '../deadlines/ttl-reader.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { ADOPT } from '../scripts/adopt.lua.js';
import { FORWARDED } from '../scripts/forwarded.lua.js';
import type { RedisNode } from '../topology/redis-node.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import { within } from '../util/within.js';
import type { Fate, ForwardingTerm } from './forwarding-term.js';
import {
  type Destination,
  type Destinations,
  KeyFinder,
  type Whereabouts,
} from './key-finder.js';
import type { Forwarding } from './sweep.js';

/** Entries that are forwarded in one step. */
const PAGE = 200;
/** Ms until entries are tried again that could not be forwarded. */
const RETRY_MS = 250;
/** It rests for so many times as long as it worked: many entries may wait for a slot that is on its way for long. */
const REST = 3;
/** Ms by which the clocks of two nodes may differ. */
const CLOCKS_APART_MS = 1_000;
/** Ms for which a page waits for one node. */
const PATIENCE_MS = 500;
/** What SWEEP takes for the mark that a key that is gone was missed. */
const MARK = 0.5;
/** Ms between two looks whether there is anything to do, where nobody says so. */
const POLL_MS = 1_000;

/**
 * Brings the entries of a partition to the partition of the node that serves their keys. SWEEP puts them
 * aside, into `away`; where the partition is drained, those of its index go, too. On a Cluster each leader's
 * term has one.
 *
 * An entry is added there first, and removed here afterwards, if it is still the same. What is done twice has no
 * effect: of a key that the other index knows, an entry whose time has come says nothing new, and of two that are
 * ahead the sooner one counts. While a slot is on its way nobody looks at its keys by SWEEP: they are looked at where
 * they are going to, so that Redis announces there what has run out, and their entries wait.
 *
 * States: new → `start` → idle ⇄ working → stopped, by `stop`. It works when it is told that there is something to do,
 * every 250 ms while something could not be done, and once a second otherwise, when it also looks whether another partition
 * brought something; with a rest between that is three times as long as the work. It rejects never: what failed is tried again.
 *
 * Guarantees: no entry is lost between two partitions. A page is worked on at a time; a node that cannot be reached
 * holds up nothing but the entries that it is to have.
 */
export class Forwarder implements Forwarding {
  readonly #commands: Commands;
  readonly #finder: KeyFinder;
  readonly #timer = new SoonestTimer(() => this.#work());
  /** Indexes to which entries are under way. */
  readonly #busy = new Set<string>();
  /** When it may work again, by `performance.now()`. */
  #notBefore = 0;
  #isStopped = false;
  #lastError: string | undefined;

  /**
   * @param node the one that has the partition
   * @param isDrained whether another partition watches that node: then nothing stays in this one's index
   */
  constructor(
    private readonly term: ForwardingTerm,
    node: RedisNode,
    destinations: Destinations,
    private readonly isDrained = false,
  ) {
    this.#commands = term.commands(node.commands);
    this.#finder = new KeyFinder(
      ...([node, this.#commands, destinations] as const),
      (connection) => term.commands(connection),
    );
  }

  start(): void {
    this.#timer.within(0);
  }

  nudge(): void {
    this.#timer.within(this.#notBefore - performance.now());
  }

  /** For good. A page that is under way goes on to its end, or is rejected with the term. */
  stop(): void {
    this.#isStopped = true;
    this.#timer.stop();
  }

  async #work(): Promise<void> {
    let left = 0;
    const began = performance.now();
    try {
      const { away, index } = this.term.keys;
      // Where nobody watches, nothing else reads the time.
      if (this.isDrained) await readTime(this.#commands, this.term.clock);
      for (const from of this.isDrained ? [away, index] : [away])
        left += await this.#forwardAll(from);
      if (!this.isDrained) await this.#lookForArrivals();
      if (left === 0) this.#lastError = undefined;
    } catch (error) {
      left++;
      this.#note(error);
    }
    const took = performance.now() - began;
    this.#notBefore = performance.now() + REST * took;
    this.#timer.within(Math.max(left > 0 ? RETRY_MS : POLL_MS, REST * took));
  }

  /** Resolves with how many entries could not be forwarded. */
  async #forwardAll(from: string): Promise<number> {
    let left = 0;
    let cursor = '0';
    do {
      const [next, flat] = await this.#commands.runNow((redis) =>
        redis.zscanBuffer(from, cursor, 'COUNT', PAGE),
      );
      cursor = next.toString();
      for (let i = 0; i < flat.length; i += 2 * PAGE)
        left += await this.#forward(from, entriesOf(flat, i, i + 2 * PAGE));
    } while (cursor !== '0' && !this.#isStopped);
    return left;
  }

  /** Resolves with how many of these could not be forwarded. */
  async #forward(
    from: string,
    entries: readonly DeadlineEntry[],
  ): Promise<number> {
    const { keys } = this.term;
    const places = await this.#placesOf(from, entries);
    const parts = new Map<string, [Destination, DeadlineEntry[]]>();
    const gone: DeadlineEntry[] = [];
    for (const [i, entry] of entries.entries()) {
      const to = places[i];
      if (to === 'none' || this.#fateOf(entry) === 'deleted') gone.push(entry);
      else if (to && to.index !== from) {
        const [, part] = parts.get(to.index) ?? [to, []];
        parts.set(to.index, [to, [...part, entry]]);
      }
    }
    const back = parts.get(keys.index)?.[1] ?? [];
    parts.delete(keys.index);
    await Promise.all(
      [...parts.values()].map(async ([to, part]) => {
        try {
          if (await this.#deliver(to, part)) gone.push(...part);
        } catch (error) {
          this.#note(error);
        }
      }),
    );
    await this.#remove(from, gone, back);
    return entries.length - gone.length - back.length;
  }

  async #placesOf(
    from: string,
    entries: readonly DeadlineEntry[],
  ): Promise<Whereabouts[]> {
    const ahead = entries.map((entry) => this.#isAhead(entry));
    // To ask for a key of a drained index would expire it before anybody knows its deadline.
    const isAsked = (i: number): boolean =>
      from !== this.term.keys.index || ahead[i]!;
    const indexes = [...entries.keys()].filter(isAsked);
    const found = await this.#finder.locate(
      indexes.map((i) => entries[i]!.key),
      (n) => ahead[indexes[n]!]!,
      (error) => this.#note(error),
    );
    const places = this.#finder.guess(entries.map(({ key }) => key));
    indexes.forEach((i, n) => (places[i] = found[n]));
    return places;
  }

  /** Whether it was done soon. One that hangs is given nothing more until it is known how that ended. */
  #deliver(
    to: Destination,
    entries: readonly DeadlineEntry[],
  ): Promise<boolean> {
    if (this.#busy.has(to.index)) return Promise.resolve(false);
    this.#busy.add(to.index);
    const adding = this.#add(to, entries).finally(() =>
      this.#busy.delete(to.index),
    );
    return within(PATIENCE_MS, adding);
  }

  /** Rejects where the partition has no leader. If it was retired, where to bring them is known anew soon. */
  async #add(
    to: Destination,
    entries: readonly DeadlineEntry[],
  ): Promise<void> {
    const past = entries.filter((entry) => this.#isPast(entry));
    const ahead = entries.filter((entry) => !past.includes(entry));
    const words = [...past, ...ahead].flatMap((entry) => [
      this.#scoreOf(entry),
      entry.key,
    ]);
    const isTaken = await this.term
      .commands(to.commands)
      .runNow((redis) =>
        ADOPT.run(
          redis,
          [to.lease, to.index, to.befores],
          to.before ?? '',
          past.length,
          ...words,
        ),
      );
    if (isTaken !== 1)
      throw new Error('the partition that is to have them has no leader');
  }

  /** `gone`: others have them. `back`: their keys are here. */
  async #remove(
    from: string,
    gone: readonly DeadlineEntry[],
    back: readonly DeadlineEntry[],
  ): Promise<void> {
    if (gone.length + back.length === 0) return;
    const { token, keys } = this.term;
    const { lease, index } = keys;
    const words = [
      ...gone.flatMap(({ key, at }) => [key, at, 0]),
      ...back.flatMap(({ key, at }) => [key, at, 1]),
    ];
    await this.#commands.runNow((redis) =>
      FORWARDED.run(redis, [lease, from, index], token, ...words),
    );
    for (const { at } of back) this.term.due(at);
  }

  /** Nobody else tells of what other partitions bring. */
  async #lookForArrivals(): Promise<void> {
    const { index } = this.term.keys;
    const [, soonest] = await this.#commands.runNow((redis) =>
      redis.zrange(index, '0', '0', 'WITHSCORES'),
    );
    if (soonest !== undefined) this.term.due(Number(soonest));
  }

  /** With the mark, half a ms, where what is gone was missed: see SWEEP. */
  #scoreOf(entry: DeadlineEntry): number {
    const { at } = entry;
    const isMarked = at % 1 > 0;
    return !isMarked && this.#fateOf(entry) === 'missed' ? at + MARK : at;
  }

  #fateOf(entry: DeadlineEntry): Fate {
    const fate = this.#isPast(entry) && this.term.fateOf?.(entry);
    return fate || 'unknown';
  }

  #isPast({ at }: DeadlineEntry): boolean {
    const { clock } = this.term;
    return at <= (clock.known ? clock.now() : Date.now());
  }

  /** Whether its deadline is still to come by the clock of every node. */
  #isAhead({ at }: DeadlineEntry): boolean {
    const { clock } = this.term;
    return clock.known && at > clock.latest() + CLOCKS_APART_MS;
  }

  /** Logs why something could not be done, once while it stays so. */
  #note(error: unknown): void {
    const reason = reasonOf(error);
    if (this.#isStopped || reason === this.#lastError) return;
    this.#lastError = reason;
    this.term.log.debug(`Deadlines could not be forwarded: ${reason}`);
  }
}

/** The entries of a flat list of keys and scores, from one place to another. */
function entriesOf(
  flat: readonly Buffer[],
  from: number,
  to: number,
): DeadlineEntry[] {
  const entries: DeadlineEntry[] = [];
  for (let i = from; i + 1 < Math.min(to, flat.length); i += 2)
    entries.push({ key: flat[i]!, at: Number(flat[i + 1]) });
  return entries;
}
