import type { Commands } from '../connection/commands.js';
import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { DeadlineJudge } from '../deadlines/deadline-judge.js';
import { NodeWatch } from '../deadlines/node-watch.js';
import { withWarnings } from '../deadlines/warnings.js';
import { ValueMemory } from '../deadlines/value-memory.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Arrivals } from './arrivals.js';
import { Evidence, toText } from './evidence.js';
import { Forwarder } from './forwarder.js';
import type { Fate } from './forwarding-term.js';
import { type AuditedNode, GapAudit } from './gap-audit.js';
import { GapBook } from './gap-book.js';
import { GoneKeys } from './gone-keys.js';
import { GroupWarnings } from './group-warnings.js';
import { Judge } from './judge.js';
import type { NodeTerm } from './node-term.js';
import { Preview } from './preview.js';
import { RecheckQueue } from './recheck-queue.js';
import { Returns } from './returns.js';
import type { JudgedNode } from './sweep.js';
import { type ValueLooks, valueLooksOf } from './value-looks.js';

/** For how many ms gaps matter on a Cluster, where entries of keys that moved come late. */
const MEMORY_MS = 600_000;

/**
 * A group's judge of the node that serves a partition, in one leader's term: it keeps the deadlines of that
 * node's keys in the partition's index, and has SWEEP decide what became of those that are due, were announced, or
 * are said to be gone. `LeaderTerm` makes one, and hands its `watch` to the node's listener.
 *
 * States are those of `NodeWatch`. Lost, it looks at nothing, and a gap is open. Silent, it looks, and the gap stays
 * open: a key that is gone at its deadline counts as expired, unless it was found gone a moment before.
 *
 * Guarantees: `watchedUntil` never passes a deadline that is not settled.
 */
export class GroupNode implements DeadlineJudge, JudgedNode, AuditedNode {
  readonly looksInSilence = true;
  readonly tracked = undefined;
  readonly gaps: GapBook;
  readonly evidence = new Evidence();
  readonly values = new ValueMemory();
  readonly commands: Commands;
  readonly index: DeadlineJudge['index'];
  readonly watch: NodeWatch;
  readonly #judge: Judge;
  readonly #warnings: GroupWarnings;
  readonly #suspects: RecheckQueue;
  readonly #gone: GoneKeys;
  readonly returns: Returns;
  readonly #preview: Preview;
  readonly #valueLooks: ValueLooks;
  readonly #forwarder: Forwarder | undefined;
  readonly #arrivals: Arrivals | undefined;
  /** While it is not watched: from when on nothing is known. */
  #lostUntil: number | undefined;
  readonly #audit: GapAudit;

  /**
   * @param watched nobody watched since then, in epoch ms by Redis's clock; undefined for a new group, which knows
   *   no key that it could have missed
   */
  constructor(
    readonly node: RedisNode,
    private readonly term: NodeTerm,
    private readonly watched: number | undefined,
  ) {
    const { index, registry, punctual, log, destinations } = term;
    this.commands = term.commands(node.commands);
    this.#warnings = new GroupWarnings(
      {
        ...{ token: term.token, keys: term.keys, registry, log, destinations },
        ...{ counters: term.counters, options: term.values },
        commands: this.commands,
        during: (connection) => term.commands(connection),
      },
      ...([node, () => this.watch] as const),
    );
    this.index = withWarnings(index, this.#warnings, registry);
    this.gaps = new GapBook(destinations && MEMORY_MS);
    const { commands } = this;
    const parts = { patterns: registry, punctual, log, commands };
    this.watch = new NodeWatch(this, { ...parts, inCluster: node.inCluster });
    this.#forwarder =
      destinations &&
      new Forwarder(
        {
          ...{ token: term.token, keys: term.keys, clock: this.clock, log },
          commands: (connection) => term.commands(connection),
          due: (soonest) => this.due(soonest),
        },
        node,
        destinations,
      );
    this.#audit = new GapAudit(index, this);
    // The forwarder looks for them, too.
    if (!destinations) this.#arrivals = new Arrivals(index, this);
    this.#judge = new Judge(
      {
        ...{ token: term.token, keys: term.keys },
        registry: { matches: (key) => registry.expires(key) },
        ...{ graces: term.graces, counters: term.counters },
        forwarder: this.#forwarder,
        nextRequest: () => term.nextRequest(),
        tolds: () => destinations?.tolds() ?? [],
      },
      this,
    );
    const judge = (keys: readonly Buffer[]) => this.#judge.judge(keys);
    const report = (error: unknown): void => this.report(error);
    this.#suspects = new RecheckQueue(judge, report);
    this.#gone = new GoneKeys(judge, report);
    this.returns = new Returns(term, this.commands, report);
    this.#preview = new Preview({
      ...{ index, clock: this.clock, report },
      lookAhead: (entries) => this.#lookAhead(entries),
    });
    this.#valueLooks = valueLooksOf(this, term, this.#warnings);
    if (watched !== undefined) this.#miss(watched);
  }

  get clock(): RedisClock {
    return this.watch.clock;
  }

  get isListening(): boolean {
    return this.watch.state === 'listening';
  }

  get generation(): number {
    return this.evidence.generation;
  }

  now(): number {
    return this.clock.now();
  }

  get isSilent(): boolean {
    return this.watch.state === 'silent';
  }

  get previewedAfter(): number | undefined {
    return this.#preview.coversAfter;
  }

  /** Epoch ms by Redis's clock before which every deadline is settled. */
  get watchedUntil(): number | undefined {
    const until = this.watch.lookedBefore ?? this.watched;
    const lost = this.watch.isWatching ? undefined : this.#lostUntil;
    return lost === undefined ? until : Math.min(until ?? lost, lost);
  }

  /** It watches in the place of another one: what nobody heard there is still to be recovered. */
  succeed(other: GroupNode): void {
    this.gaps.inherit(other.gaps);
  }

  /** What became of a key that was due then, as far as whoever watched it knew when that ended. */
  fateOf(key: Buffer, at: number): Fate {
    if (this.#gone.wasLeft(key)) return 'deleted';
    return this.gaps.covers(at) ? 'missed' : 'unknown';
  }

  async look(due: readonly DeadlineEntry[]): Promise<void> {
    await this.#judge.judgeDue(due);
    // Those that were renewed may have more time left than anybody heard of.
    for (const { key } of due)
      if (this.term.registry.warns(key)) this.watch.looked(key);
  }

  async #lookAhead(entries: readonly DeadlineEntry[]): Promise<void> {
    if (this.isSilent) await this.#judge.judgeDue(entries);
  }

  lookedBefore(moment: number): void {
    this.gaps.settle(moment);
  }

  subscribed(): void {
    this.#valueLooks.update();
  }

  enrolled(soonest: number): void {
    this.#preview.nudge(soonest);
    this.#valueLooks.nudge(soonest);
  }

  due(soonest: number): void {
    this.watch.nudge(soonest);
    this.enrolled(soonest);
  }

  announced(redisKey: Buffer): undefined {
    if (!this.#hears() || !this.term.registry.expires(redisKey)) return;
    const isNews = this.evidence.announce(toText(redisKey));
    this.returns.announced(redisKey, !isNews);
    if (isNews) this.#suspects.expired(redisKey);
  }

  heard(event: string, redisKey: Buffer): void {
    this.values.heard(redisKey);
    if (!this.#hears()) return;
    if (event === 'new') this.returns.created(redisKey);
    if (event === 'new' || event === 'expire') this.#gone.remove(redisKey);
    // Where nothing is announced for certain, what is not found gone at once may count as expired.
    else if (this.isSilent) this.#suspects.changed(redisKey);
    else this.#gone.add(redisKey);
  }

  written(redisKey: Buffer): boolean {
    // Nothing else tells that it was deleted.
    return this.#hears() && this.isSilent && this.#suspects.changed(redisKey);
  }

  /** What is due in the index by now, and was not settled, was missed: writers add keys of which no leader may have heard. */
  async beginning(): Promise<void> {
    const soonest = (await this.term.index.next(-Infinity)) ?? Infinity;
    if (soonest < this.clock.now()) this.#miss(Math.floor(soonest));
  }

  began(state: 'listening' | 'silent'): void {
    this.#hears();
    this.#arrivals?.resume();
    if (this.gaps.isOpen) this.#audit.ask();
    if (state === 'silent') {
      this.gaps.begin(Math.floor(this.clock.now()));
      this.#preview.resume();
    } else {
      this.gaps.end(Math.ceil(this.clock.now()));
      this.#preview.pause();
      void this.#audit.run();
    }
    this.#valueLooks.resume();
    this.#forwarder?.start();
    this.#warnings.resume();
  }

  suspended(ago: number): void {
    const now = this.clock.known ? this.clock.now() : Date.now();
    const settled = this.watch.lookedBefore ?? this.watched;
    this.#suspects.pause();
    this.#gone.pause();
    this.returns.pause();
    this.#preview.pause();
    this.#warnings.pause();
    this.#valueLooks.pause();
    this.#arrivals?.pause();
    this.evidence.forget();
    // Lost again before it was watched, it is lost since the first time.
    if (this.watch.isWatching) this.#lostUntil = undefined;
    this.#miss(Math.min(settled ?? now, now - ago));
  }

  clockStepped(ms: number): void {
    if (ms < 0) {
      this.gaps.setBack(-ms);
      if (this.#lostUntil !== undefined) this.#lostUntil += ms;
    }
    this.#preview.retime(ms);
    this.#warnings.retime();
    this.#valueLooks.retime(ms);
  }

  barrier(): Promise<void> {
    return this.term.barrier(this.node);
  }

  settled(keys: readonly string[]): void {
    this.#suspects.settled(keys);
  }

  /** Logs why looking at keys failed. */
  report(error: unknown): void {
    this.watch.report(error);
  }

  close(): void {
    this.#forwarder?.stop();
    this.#warnings.close();
    this.#arrivals?.stop();
    this.watch.close();
  }

  /** Whether what is heard counts. What is heard before the watch begins may be all that tells of an expiry. */
  #hears(): boolean {
    const { state } = this.watch;
    if (state !== 'listening' && state !== 'silent') return false;
    this.#suspects.resume();
    this.#gone.resume();
    this.returns.resume();
    return true;
  }

  /** From then on nothing is known. */
  #miss(since: number): void {
    this.#lostUntil = Math.min(this.#lostUntil ?? since, since);
    this.gaps.begin(since);
  }
}
