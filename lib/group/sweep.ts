import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { ValueMemory } from '../deadlines/value-memory.js';
import type { Patterns } from '../deadlines/discovery.js';
import { SWEEP } from '../scripts/sweep.lua.js';
import { type Evidence, toText } from './evidence.js';
import type { GapBook, Span } from './gap-book.js';
import { type Graces, graceWords } from './graces.js';
import type { GroupKeys } from './group-keys.js';
import { type Request, RequestChannel } from './request-channel.js';
import type { Returns } from './returns.js';
import {
  type SweptValue,
  forgetEnded,
  valuesFor,
  wordsOf,
} from './swept-values.js';
import { ping } from './term-fence.js';

/** The node whose keys are looked at, as its judge sees it. `GroupNode` is one. */
export interface JudgedNode {
  /** The connection to this very server, as long as the term lasts. */
  readonly commands: Commands;
  readonly evidence: Evidence;
  readonly gaps: GapBook;
  /** The values of keys that are about to run out. */
  readonly values: ValueMemory;
  /** Redis's time; each look sets it. */
  readonly clock: RedisClock;
  /** Where a server announces nothing: the deadline after which every key was looked at a moment before it was due; undefined while there is none. */
  readonly previewedAfter: number | undefined;
  /** Whether the server announces nothing, as far as can be known. */
  readonly isSilent: boolean;
  /** Resolves once everything that the server announced before now has been heard. Rejects if that cannot be known. */
  barrier(): Promise<void>;
  /** Everything that was announced of these keys, in latin1, has been taken into account. */
  settled(keys: readonly string[]): void;
  /** Is told of expiries that were fired for handlers with a grace. */
  readonly returns: Pick<Returns, 'fired'>;
  /** Keys were found that run out later, the soonest of them then, in epoch ms by Redis's clock. */
  due(soonest: number): void;
}

/** The leader's term for which keys are looked at, as their judge sees it. */
export interface JudgingTerm {
  /** The fencing token. */
  readonly token: string;
  readonly keys: GroupKeys;
  readonly registry: Pick<Patterns, 'matches'>;
  /** For which keys some handler has a grace. */
  readonly graces: Pick<Graces, 'cover' | 'longest'>;
  readonly counters: ExpiryCounters;
  /** On a Cluster: brings entries to where their keys are. Undefined where one server holds all keys. */
  readonly forwarder?: Pick<Forwarding, 'nudge'> | undefined;
  /** On a Cluster: where each partition notes which expiries it told. */
  tolds?(): readonly string[];
  /** The number of the next request: each is higher than the one before. */
  nextRequest(): number;
}

/** Who is told that entries wait whose keys are elsewhere. `Forwarder` is one. */
export interface Forwarding {
  /** There are some. */
  nudge(): void;
}

/** What the script SWEEP is told of some keys; its header says what each means. */
export interface SweepArguments {
  readonly keys: readonly Buffer[];
  readonly known: string;
  readonly wanted?: string;
  readonly gaps?: readonly Span[];
  readonly previewedAfter?: number | undefined;
  readonly longestGrace?: number;
  readonly graced?: string;
  /** Whether keys may be elsewhere, and entries come from other partitions: it is a Cluster. */
  readonly amongOthers?: boolean;
  /** Where other partitions note which expiries they told. */
  readonly tolds?: readonly string[] | undefined;
  /** What was read of some of the keys, by their place among them. */
  readonly values?: readonly SweptValue[];
}

/** What it found and did. */
export interface SweepReply {
  /** Epoch ms by Redis's clock. */
  readonly now: number;
  /** When the first key runs out that lives; undefined if none does. */
  readonly soonest: number | undefined;
  /** Of each key one character. */
  readonly codes: string;
}

/** Sends SWEEP: the only place that knows the order of its arguments. */
export async function runSweep(
  redis: Redis,
  names: GroupKeys,
  { token, number }: { readonly token: string; readonly number: number },
  words: SweepArguments,
): Promise<SweepReply> {
  const { keys, known, wanted, gaps, previewedAfter, amongOthers } = words;
  const { valued, words: valueWords } = wordsOf(
    words.values ?? [],
    keys.length,
  );
  const others = words.tolds?.filter((name) => name !== names.told) ?? [];
  const { index, events, lease, request, settled, away, told } = names;
  const { longestGrace = 0, graced = '' } = words;
  const spans = gaps?.map(({ from, to }) => `${from} ${to}`).join(' ');
  const line = await SWEEP.run(
    redis,
    [
      ...[index, events, lease, request, settled, names.ended, names.back],
      ...(amongOthers ? [away, told] : []),
    ],
    ...[token, number, known, wanted ?? '', spans ?? '', previewedAfter ?? ''],
    ...[longestGrace, graced, others.length, valued],
    ...[...others, ...valueWords],
    ...keys,
  );
  const [, now, soonest, codes] = String(line).split(' ');
  return {
    now: Number(now),
    soonest: soonest === '-1' ? undefined : Number(soonest),
    codes: codes!,
  };
}

/**
 * Looks at keys of one node and settles them in one step: see the table in the header of the script
 * SWEEP. `Judge` calls it, one call after the other.
 *
 * Guarantees: one expiry is appended once, also where an answer is lost, because the request goes
 * through a `RequestChannel`. What was announced of a key counts for one look.
 */
export class Sweep {
  readonly #requests: RequestChannel;

  constructor(
    private readonly term: JudgingTerm,
    private readonly node: JudgedNode,
  ) {
    this.#requests = new RequestChannel(term, (number) =>
      this.#run(number, { keys: [], known: '' }),
    );
  }

  /** To be called before `find` and `settle`: connects, and settles what became of a request without an answer. */
  async prepare(): Promise<void> {
    const { commands } = this.node;
    // What is sent while it connects would be done at some later time.
    if (!commands.connected) await commands.runNow(ping);
    await this.#requests.clear();
  }

  /** Settles what can be settled at once. Resolves with the keys that are gone, and of which nothing tells why. */
  find(keys: readonly Buffer[]): Promise<Buffer[]> {
    return this.#look(keys, '-');
  }

  /**
   * Settles keys that `find` resolved with, once everything was heard that had been announced by then:
   * a key that was not announced was deleted, or ran out in a gap.
   */
  async settle(keys: readonly Buffer[]): Promise<void> {
    await this.#look(keys, 'd');
  }

  /** `unannounced`: what to say of keys whose expiry was not announced. */
  async #look(
    keys: readonly Buffer[],
    unannounced: '-' | 'd',
  ): Promise<Buffer[]> {
    const { commands } = this.node;
    if (!commands.connected) throw new Error('there is no connection');
    const look = new Look(this.term, this.node, keys, unannounced);
    const unsure: Buffer[] = [];
    await this.#requests.send({
      isFresh: () => look.isFresh,
      send: async (number, isLate) => {
        const { clock } = this.node;
        const sent = clock.mark();
        const reply = await this.#run(number, look.arguments(isLate));
        // A late answer may tell the time of a while ago.
        if (!isLate) clock.read(reply.now, sent);
        unsure.push(...look.note(reply));
      },
    } satisfies Request);
    if (!look.isFresh) throw new Error('listening was lost');
    return unsure;
  }

  #run(number: number, words: SweepArguments): Promise<SweepReply> {
    const { keys, token, forwarder } = this.term;
    const amongOthers = forwarder !== undefined;
    const tolds = amongOthers ? this.term.tolds?.() : undefined;
    return this.node.commands.runNow((redis) =>
      runSweep(
        redis,
        keys,
        { token, number },
        { ...words, amongOthers, tolds },
      ),
    );
  }
}

/** One look at some keys: what was known of them when it was asked for, and what follows from its answer. */
class Look {
  readonly #texts: readonly string[];
  /** How often the expiry of each key was announced. */
  readonly #announced: readonly number[];
  readonly #generation: number;
  readonly #arguments: SweepArguments & { readonly known: string };

  constructor(
    private readonly term: JudgingTerm,
    private readonly node: JudgedNode,
    private readonly keys: readonly Buffer[],
    unannounced: '-' | 'd',
  ) {
    const { evidence, gaps, isSilent } = node;
    this.#texts = keys.map(toText);
    this.#announced = this.#texts.map((text) => evidence.announced(text));
    this.#generation = evidence.generation;
    this.#arguments = {
      keys,
      known: this.#announced
        .map((times) => (times > 0 ? 'e' : unannounced))
        .join(''),
      wanted: this.#wanted(),
      gaps: gaps.spans,
      previewedAfter: isSilent ? node.previewedAfter : undefined,
      values: valuesFor(node.values, this.#texts),
      ...graceWords(this.term.graces, keys),
    };
  }

  /** Whether what was known when it was asked for still counts: listening was not lost since. */
  get isFresh(): boolean {
    return this.#generation === this.node.evidence.generation;
  }

  /** `isLate`: it is sent again. If it was not done the first time, the keys that were gone may be anything by now. */
  arguments(isLate: boolean): SweepArguments {
    const { known } = this.#arguments;
    return isLate
      ? { ...this.#arguments, known: known.replaceAll('d', '-') }
      : this.#arguments;
  }

  /** Takes note of the answer. Returns the keys that are gone, and of which nothing tells why. */
  note({ now, soonest, codes }: SweepReply): Buffer[] {
    if (!this.isFresh) return [];
    this.node.settled(
      this.#texts.filter((_, i) => this.#isAccountedFor(i, codes[i]!, now)),
    );
    forgetEnded(this.node.values, this.#texts, codes, now);
    if (soonest !== undefined) this.node.due(soonest);
    if (codes.includes('m')) this.term.forwarder?.nudge();
    return this.keys.filter((_, i) => codes[i] === '?');
  }

  /** Of each key one character, or '' for the common case, in which somebody asks for all of them. */
  #wanted(): string {
    const { registry } = this.term;
    const wanted = this.keys.map((key) => (registry.matches(key) ? '1' : '0'));
    return wanted.includes('0') ? wanted.join('') : '';
  }

  /** Whether everything that was announced of a key has been taken into account. */
  #isAccountedFor(i: number, code: string, now: number): boolean {
    const { evidence } = this.node;
    const text = this.#texts[i]!;
    let spent = this.#announced[i]!;
    if (spent > 0 && (code === 'a' || code === 'r')) {
      // It expired, and was written again before anybody could look.
      const { counters, graces } = this.term;
      counters.received++;
      counters[graces.cover(this.keys[i]!) ? 'cameBack' : 'superseded']++;
    }
    let isAnnounced = code === 'e';
    if (code === 'r') {
      // The announcement that the look caused may have come already.
      isAnnounced = evidence.announced(text) > spent;
      if (isAnnounced) spent++;
      else evidence.expect(text);
    }
    if (this.#arguments.graced?.[i] === '1' && 'reg'.includes(code))
      this.node.returns.fired(text, now, isAnnounced);
    return evidence.settle(text, spent);
  }
}
