import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import type { Commands } from '../connection/commands.js';
import { DeadlineDiscovery } from '../deadlines/discovery.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import { TtlReader } from '../deadlines/ttl-reader.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type {
  DeadlineStatus,
  DeadlineKeeper,
} from '../listening/deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Evidence, toText } from './evidence.js';
import { GapBook } from './gap-book.js';
import { GoneKeys } from './gone-keys.js';
import { ClusterJudge } from './cluster-judge.js';
import { Judge } from './judge.js';
import type { ClusterNode, ClusterTerm, NodeTerm } from './node-term.js';
import { RecheckQueue } from './recheck-queue.js';
import { Redirector } from './redirector.js';
import type { JudgedNode } from './sweep.js';
import { Verdicts } from './verdicts.js';

/** Ms between two readings of the clock of a Cluster's node while nothing else brings one. */
const CLOCK_INTERVAL = 1_000;
/** Ms by which the clocks of a Cluster's nodes may move against each other before the deadlines are learnt anew. */
const MOST_SHIFTED = 250;
/** Nodes that a key is handed on to, one after the other, in one look. */
const MOST_HOPS = 3;
/** Entries that an audit looks at in one step. */
const AUDIT_PAGE = 500;

/**
 * One node of a group that this instance watches: learns its keys' deadlines, and judges them when
 * they are due.
 *
 * States: lost (at first) ⇄ hearing, or silent where the server announces nothing; → closed. Lost,
 * it looks at nothing, and a gap is open. Silent, it looks, and the gap stays open: a key that is
 * gone at its deadline counts as expired, unless it was found gone before.
 */
export class GroupNode implements DeadlineKeeper, JudgedNode, ClusterNode {
  readonly gaps = new GapBook();
  readonly evidence = new Evidence();
  readonly commands: Commands;
  readonly #judge: Judge | ClusterJudge;
  readonly #suspects: RecheckQueue;
  readonly #gone: GoneKeys;
  readonly #learner: DeadlineDiscovery;
  readonly #reader: TtlReader;
  #state: 'lost' | 'hearing' | 'silent' | 'closed' = 'lost';
  /** While it is not watched: from when on nothing is known. */
  #lostUntil: number | undefined;
  /** It is listened to, and the time is known. */
  #begun = false;
  #auditDue = false;
  #clockTimer: NodeJS.Timeout | undefined;
  /** Until it is tried again to begin. */
  #beginTimer: NodeJS.Timeout | undefined;
  /** The node's own clock, in a Cluster; else the index's. */
  readonly #clock: RedisClock;
  /** By how many ms deadlines come sooner, by the index's clock, than they were learnt to. */
  #shifted = 0;

  constructor(
    readonly node: RedisNode,
    private readonly term: NodeTerm,
    /** Nobody watched since then; undefined for a new group, which knows no key that it could have missed. */
    watched: number | undefined,
  ) {
    const { index, clock, registry, cluster, log } = term;
    this.commands = term.commands(node.commands);
    this.#clock = cluster ? new RedisClock() : clock;
    this.#reader = new TtlReader(
      this.commands,
      this.#clock,
      cluster && { reference: clock },
    );
    if (cluster) this.#clock.onStep = (ms) => this.#shift(ms);
    this.#suspects = new RecheckQueue(
      (keys) => this.#judge.judge(keys),
      (error) => this.report(error),
    );
    this.#gone = new GoneKeys(
      (keys) => this.#judge.judge(keys),
      (error) => this.report(error),
    );
    this.#learner = new DeadlineDiscovery(
      index,
      this.#reader,
      registry,
      term.punctual,
      (soonest) => term.due(soonest),
      log,
    );
    this.#judge = cluster ? this.#clusterJudge(cluster) : new Judge(term, this);
    if (watched !== undefined) this.#miss(watched);
  }

  get status(): DeadlineStatus {
    const { lastScan } = this.#learner;
    return lastScan ? { lastScan } : {};
  }

  get wantsRenewals(): boolean {
    return this.#learner.wantsRenewals;
  }

  /** Whether its keys can be looked at. */
  get watched(): boolean {
    return this.#begun && this.#isListening;
  }

  get isSilent(): boolean {
    return this.#state === 'silent';
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** Epoch ms by the index's clock from which on nothing is known; undefined while it is watched. */
  get lostUntil(): number | undefined {
    return this.watched ? undefined : this.#lostUntil;
  }

  get #isListening(): boolean {
    return this.#state === 'hearing' || this.#state === 'silent';
  }

  listening(proven: boolean, served: ReadonlySet<string>): void {
    this.#listen(proven ? 'hearing' : 'silent', 0, served);
  }

  silent(ago: number, served: ReadonlySet<string>): void {
    this.#listen('silent', ago, served);
  }

  lost(ago: number): void {
    if (!this.#isListening) return;
    this.#state = 'lost';
    this.#suspend(ago);
  }

  gained(from: ReadonlySet<string>): void {
    this.#learner.rescan();
    const { cluster } = this.term;
    for (const other of cluster?.watchedAt(from) ?? []) this.succeed(other);
  }

  /** Takes over what another one knows of the times in which nobody listened to its keys. */
  succeed(other: Pick<GroupNode, 'gaps' | 'lostUntil'>): void {
    this.gaps.inherit(other.gaps);
    if (other.lostUntil === undefined) return;
    this.#miss(other.lostUntil);
    if (this.watched && !this.isSilent)
      this.gaps.end(Math.ceil(this.term.clock.now()));
  }

  hint(event: string, redisKey: Buffer): void {
    if (event === 'new') this.#learner.created(redisKey);
    else if (event === 'expire') this.#learner.renewed(redisKey);
    // Where nothing is announced for certain, what is not found gone at once may count as expired.
    else if (this.isSilent) this.#suspects.changed(redisKey);
    else this.#gone.add(redisKey);
  }

  changed(redisKey: Buffer): void {
    // Nothing else tells that it was deleted.
    if (this.isSilent && this.#suspects.changed(redisKey)) return;
    this.#learner.changed(redisKey);
  }

  expired(redisKey: Buffer): undefined {
    if (!this.#isListening) return;
    if (this.term.cluster?.isExpected(this, redisKey)) return;
    const text = toText(redisKey);
    if (this.evidence.announce(text)) this.#suspects.expired(redisKey);
  }

  /** Whether the announcement of an expiry is still to come that a look of this node caused; asked once for each. */
  expects(redisKey: Buffer): boolean {
    return this.evidence.expects(toText(redisKey));
  }

  /** The clock of the index goes otherwise than it was taken to: by so many ms it is ahead, or behind. */
  clockStepped(ms: number): void {
    if (ms < 0) {
      this.gaps.setBack(-ms);
      if (this.#lostUntil !== undefined) this.#lostUntil += ms;
    }
    if (this.term.cluster) this.#shift(-ms);
  }

  /** The node's clock is ahead of the index's by so many ms more: its keys run out sooner than the index says. */
  #shift(ms: number): void {
    this.#shifted = Math.max(0, this.#shifted + ms);
    if (this.#shifted < MOST_SHIFTED) return;
    this.#shifted = 0;
    this.#learner.rescan();
  }

  /** Looks at keys that another node was asked for. `asking`: they are on their way here. */
  take(keys: readonly Buffer[], asking: boolean, hops: number): Promise<void> {
    if (!this.watched || hops > MOST_HOPS) {
      const why = this.watched ? 'sends keys away' : 'is not watched';
      return Promise.reject(new Error(`${this.node.address} ${why}`));
    }
    return (this.#judge as ClusterJudge).judge(keys, asking, hops);
  }

  /** Looks at keys of this node that are due, or about to be. */
  judge(entries: readonly DeadlineEntry[]): Promise<void> {
    return this.#judge.judgeDue(entries);
  }

  barrier(): Promise<void> {
    return this.term.barrier(this.node);
  }

  settled(keys: readonly string[]): void {
    this.#suspects.settled(keys);
  }

  ready(): Promise<void> {
    return this.#learner.ready();
  }

  /** Logs why looking at keys failed. */
  report(error: unknown): void {
    this.#learner.report(error);
  }

  close(): void {
    if (this.closed) return;
    this.lost(0);
    this.#state = 'closed';
    this.#learner.close();
  }

  #listen(
    state: 'hearing' | 'silent',
    ago: number,
    served: ReadonlySet<string>,
  ): void {
    if (this.closed) return;
    if (this.#state === 'hearing' && state === 'silent') this.#suspend(ago);
    this.#learner.resume(served);
    if (this.#state === state) return;
    this.#state = state;
    this.#suspects.resume();
    this.#gone.resume();
    if (this.term.cluster)
      this.#clockTimer ??= setInterval(() => {
        if (this.#clock.age < CLOCK_INTERVAL) return;
        this.#reader.readTime().catch(() => undefined);
      }, CLOCK_INTERVAL).unref();
    void this.#begin(state);
  }

  #suspend(ago: number): void {
    const { clock, settledBefore } = this.term;
    const now = clock.known ? clock.now() : Date.now();
    const wasWatched = this.#begun;
    this.#begun = false;
    clearInterval(this.#clockTimer);
    this.#clockTimer = undefined;
    // The next begin must not find another one waiting beside it.
    clearTimeout(this.#beginTimer);
    this.#learner.pause();
    this.#suspects.pause();
    this.#gone.pause();
    this.evidence.forget();
    // Lost again before it was watched, it is lost since the first time.
    if (wasWatched) this.#lostUntil = undefined;
    this.#miss(Math.min(settledBefore ?? now, now - ago));
    this.term.nodeChanged();
  }

  /** From then on nothing is known. */
  #miss(since: number): void {
    this.#lostUntil = Math.min(this.#lostUntil ?? since, since);
    this.gaps.begin(since);
  }

  async #readTime(): Promise<void> {
    const { index, clock, cluster } = this.term;
    await index.readTime(clock);
    if (cluster) await this.#reader.readTime();
  }

  /** By a look: -1 without a deadline, below where it is gone. */
  async timeToLive(key: Buffer, asking: boolean): Promise<number> {
    const reader = this.#reader;
    const { ttls } = asking
      ? await reader.readAsking([key])
      : await reader.readProven([key]);
    return ttls[0]!;
  }

  /** What fell due in a gap is looked into from now on, and what was deleted in it found. */
  async #begin(state: 'hearing' | 'silent'): Promise<void> {
    const { clock, log } = this.term;
    try {
      await this.#readTime();
      if (this.#state !== state) return;
      this.#auditDue ||= this.gaps.isOpen;
      if (state === 'hearing') this.gaps.end(Math.ceil(clock.now()));
      else this.gaps.begin(Math.floor(clock.now()));
      this.#begun = true;
      this.term.nodeChanged();
      if (this.#auditDue && state === 'hearing') await this.#audit();
    } catch (error) {
      log.debug(`Resuming the watch failed: ${reasonOf(error)}`);
      // The connection for commands is gone: tried again as long as the listener is there.
      if (this.#state === state)
        this.#beginTimer = setTimeout(() => {
          if (this.#state === state) void this.#begin(state);
        }, 100).unref();
    }
  }

  /** Keys that were deleted in the gap must not count as expired in a later one. */
  async #audit(): Promise<void> {
    const { index, clock, cluster } = this.term;
    let cursor = '0';
    do {
      const page = await index.page(cursor, AUDIT_PAGE);
      const ahead = page.entries.filter(
        ({ key, at }) =>
          at > clock.now() && (cluster?.serves(this.node, key) ?? true),
      );
      if (ahead.length > 0) await this.#judge.judgeDue(ahead);
      cursor = page.cursor;
      await new Promise((resolve) => setTimeout(resolve, 2));
    } while (cursor !== '0' && this.#state === 'hearing');
    if (this.#state === 'hearing') this.#auditDue = false;
  }

  #clusterJudge(cluster: ClusterTerm): ClusterJudge {
    const { term, evidence, gaps } = this;
    const { index, counters, registry } = term;
    const shared = {
      ...{ evidence, gaps },
      isSilent: () => this.isSilent,
      wanted: (key: Buffer) => registry.matches(key),
    };
    return new ClusterJudge({
      ...shared,
      index,
      settling: cluster.settling,
      reader: this.#reader,
      verdicts: new Verdicts({
        ...shared,
        counters,
        previewed: (at) => at > (term.previewedAfter ?? Infinity),
      }),
      barrier: () => this.barrier(),
      onSettled: (keys) => this.settled(keys),
      onLater: (soonest) => term.due(soonest),
      relearn: (keys) => {
        for (const key of keys) this.#learner.changed(key);
      },
      onRefused: (keys) => {
        for (const key of keys) this.#suspects.expired(key);
      },
      elsewhere: new Redirector(this, this.#reader, (answer) =>
        cluster.redirect(answer),
      ),
    });
  }
}
