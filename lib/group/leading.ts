import type { ConnectionTarget } from '../connection/connection-option.js';
import { Learner, type PunctualOptions } from '../deadlines/learner.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import { TtlReader } from '../deadlines/ttl-reader.js';
import { Watch } from '../deadlines/watch.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../handlers/counters.js';
import { KeyspaceListener } from '../keyspace/keyspace-listener.js';
import type {
  DeadlineStatus,
  NodeObserver,
} from '../keyspace/node-observer.js';
import type { ListenerOptions } from '../keyspace/node-status.js';
import type { SubscriptionRegistry } from '../keyspace/subscription-registry.js';
import type { Topology } from '../keyspace/topology.js';
import type { Log } from '../log.js';
import { GapBook } from './gap-book.js';
import { Judge } from './judge.js';
import type { RedisIndex } from './redis-index.js';
import { Suspects } from './suspects.js';

export interface WatcherOptions extends ListenerOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly punctual: PunctualOptions;
}

/** Ms between two readings of Redis's clock while nothing else brings one. */
const CLOCK_INTERVAL = 15_000;
/** Entries that an audit looks at in one step. */
const AUDIT_PAGE = 500;
/**
 * One time of holding the lease: listens to every node, learns deadlines, looks when keys are due.
 *
 * States: deaf (at first) ⇄ hearing → closed. Deaf, it looks at nothing, and a gap is open.
 */
export class Leading implements NodeObserver {
  readonly listener: KeyspaceListener;
  readonly #gaps = new GapBook();
  readonly #clock = new RedisClock();
  readonly #judge: Judge;
  readonly #suspects: Suspects;
  readonly #watch: Watch;
  readonly #learner: Learner;
  readonly #reader: TtlReader;
  #tracked = 0;
  /** While deaf: from when on nothing is known. */
  #lostUntil: number | undefined;
  #auditDue = false;
  #clockTimer: NodeJS.Timeout | undefined;
  #hearing = false;
  #closed = false;

  constructor(
    topology: Topology,
    registry: SubscriptionRegistry,
    private readonly index: RedisIndex,
    options: WatcherOptions,
    counters: ExpiryCounters,
    private readonly watched: number | undefined,
    private readonly log: Log,
  ) {
    const { target } = options;
    // Nobody listened since then; a group that is new knows no key whose expiry it could have missed.
    if (watched !== undefined) this.#gaps.begin(watched);
    const node = topology.nodes[0]!;
    this.#reader = new TtlReader(node.commands, this.#clock, target.isCluster);
    this.listener = new KeyspaceListener(
      topology,
      registry,
      options,
      log,
      () => this,
    );
    this.#judge = new Judge({
      index,
      reader: this.#reader,
      gaps: this.#gaps,
      counters,
      barrier: () => this.listener.barrier(),
      wanted: (key) => registry.matches(key),
      onLater: (soonest) => this.#watch.nudge(soonest),
    });
    this.#suspects = new Suspects(
      (keys) => this.#judge.judgeKeys(keys),
      (error) => this.#learner.report(error),
    );
    this.#watch = new Watch({
      index,
      clock: this.#clock,
      readTime: () => this.#reader.readTime(),
      look: (due) => this.#judge.judgeDue(due),
      onIdle: (before) => this.#gaps.settle(before),
      onError: (error) => this.#learner.report(error),
    });
    this.#learner = new Learner(
      index,
      this.#reader,
      registry,
      options.punctual,
      (soonest) => this.#watch.nudge(soonest),
      log,
    );
  }

  get status(): DeadlineStatus {
    const { lastScan } = this.#learner;
    return { tracked: this.#tracked, ...(lastScan && { lastScan }) };
  }

  start(): void {
    this.listener.start().catch((error: unknown) => {
      this.log.error(`Watching failed: ${reasonOf(error)}`);
    });
  }

  /** Epoch ms by Redis's clock before which every deadline is settled. */
  watchedUntil(): number | undefined {
    if (!this.#hearing && this.#lostUntil !== undefined) return this.#lostUntil;
    return this.#watch.settledBefore ?? this.watched;
  }

  listening(): void {
    if (this.#closed) return;
    this.#learner.resume();
    if (this.#hearing) return;
    this.#hearing = true;
    this.#suspects.resume();
    this.#clockTimer ??= setInterval(
      () => void this.#reader.readTime().catch(() => undefined),
      CLOCK_INTERVAL,
    ).unref();
    void this.#begin();
  }

  lost(ago = 0): void {
    if (!this.#hearing) return;
    this.#hearing = false;
    const now = this.#clock.known ? this.#clock.now() : Date.now();
    const until = Math.min(this.watchedUntil() ?? now, now - ago);
    this.#lostUntil = until;
    this.#watch.pause();
    this.#learner.pause();
    this.#suspects.pause();
    this.#judge.forget();
    this.#gaps.begin(until);
  }

  hint(event: string, redisKey: Buffer): void {
    if (event === 'new') this.#learner.created(redisKey);
    else if (event === 'expire') this.#learner.renewed(redisKey);
    else this.#suspects.changed(redisKey);
  }

  expired(redisKey: Buffer): undefined {
    if (this.#hearing && this.#judge.announce(redisKey))
      this.#suspects.expired(redisKey);
  }

  ready(): Promise<void> {
    return this.#learner.ready();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.lost();
    clearInterval(this.#clockTimer);
    this.#learner.close();
    this.listener.close();
  }

  /** From now on all is heard: what fell due in the gap is looked into, and what was deleted in it found. */
  async #begin(): Promise<void> {
    try {
      await this.#reader.readTime();
      if (!this.#hearing) return;
      this.#auditDue ||= this.#gaps.isOpen;
      this.#gaps.end(Math.ceil(this.#clock.now()));
      this.#watch.resume();
      this.#tracked = await this.index.size();
      if (this.#auditDue) await this.#audit();
    } catch (error) {
      this.log.debug(`Resuming the watch failed: ${reasonOf(error)}`);
      // The connection for commands is gone: tried again as long as the listener is there.
      if (this.#hearing)
        setTimeout(() => this.#hearing && void this.#begin(), 100).unref();
    }
  }

  /** Keys that were deleted in the gap must not count as expired in a later one. */
  async #audit(): Promise<void> {
    let cursor = '0';
    do {
      const page = await this.index.page(cursor, AUDIT_PAGE);
      const ahead = page.entries.filter(({ at }) => at > this.#clock.now());
      if (ahead.length > 0) await this.#judge.judgeDue(ahead);
      cursor = page.cursor;
      await new Promise((resolve) => setTimeout(resolve, 2));
    } while (cursor !== '0' && this.#hearing);
    if (this.#hearing) this.#auditDue = false;
  }
}
