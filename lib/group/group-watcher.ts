import type { ConnectionTarget } from '../connection/connection-option.js';
import { Learner, type PunctualOptions } from '../deadlines/learner.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import { TtlReader } from '../deadlines/ttl-reader.js';
import { Watch } from '../deadlines/watch.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../handlers/counters.js';
import { KeyspaceListener } from '../keyspace/keyspace-listener.js';
import type { ListenerOptions, NodeStatus } from '../keyspace/node-listener.js';
import type {
  DeadlineStatus,
  NodeObserver,
} from '../keyspace/node-observer.js';
import { SubscriptionRegistry } from '../keyspace/subscription-registry.js';
import type { Topology } from '../keyspace/topology.js';
import type { Log } from '../log.js';
import { GapBook } from './gap-book.js';
import { Judge } from './judge.js';
import type { LeaseHolder } from './lease.js';
import type { RedisIndex } from './redis-index.js';
import { Suspects } from './suspects.js';

export interface WatcherOptions extends ListenerOptions {
  readonly target: ConnectionTarget;
  readonly namespace: string;
  readonly punctual: PunctualOptions;
}

/** Entries that an audit looks at in one step. */
const AUDIT_PAGE = 500;
/** Events that tell that a key's deadline came, changed or went. */
const HINTS = ['new', 'expire', 'del', 'rename_from', 'move_from', 'evicted'];

/**
 * Watches a group's deadlines while it holds the lease: listens, learns, looks when keys are due,
 * and appends what expired to the group's events.
 *
 * States: following (does nothing) ⇄ leading, where every node is either listened to or in a gap.
 *
 * Guarantees: it acts only under the lease; `watchedUntil` never passes a deadline that is not
 * settled, so whatever happens to this process, the next holder knows what to look into.
 */
export class GroupWatcher implements LeaseHolder {
  /** The patterns of the group's handlers. */
  readonly registry: SubscriptionRegistry;
  readonly #gaps = new GapBook();
  #leading: Leading | undefined;

  constructor(
    private readonly topology: Topology,
    private readonly index: RedisIndex,
    private readonly options: WatcherOptions,
    private readonly counters: ExpiryCounters,
    private readonly log: Log,
  ) {
    this.registry = new SubscriptionRegistry({
      ...options.target,
      namespace: options.namespace,
      hints: HINTS,
      wantedFlags: 'ng',
    });
  }

  get nodes(): NodeStatus[] {
    return this.#leading?.listener.nodes ?? [];
  }

  /** What keeps it from listening, in words. */
  get reasons(): string[] {
    return this.#leading?.listener.reasons ?? [];
  }

  onHeld(token: string, watched: number | undefined): void {
    this.index.token = token;
    this.#leading = new Leading(
      this.topology,
      this.registry,
      this.index,
      this.options,
      this.counters,
      this.#gaps,
      watched,
      this.log,
    );
    this.#leading.start();
  }

  onLost(): void {
    this.#leading?.close();
    this.#leading = undefined;
  }

  watchedUntil(): number | undefined {
    return this.#leading?.watchedUntil();
  }

  /** Takes up a pattern that was added or removed; resolves when it is listened for, if this instance leads. */
  async refresh(): Promise<void> {
    await this.#leading?.listener.refresh();
  }

  /** Resolves when every node is listened to, if this instance leads. Rejects as the listener does. */
  async listening(): Promise<void> {
    await this.#leading?.listener.listening();
  }

  /** Resolves when the first scan is done, if this instance leads. */
  async ready(): Promise<void> {
    await this.#leading?.listener.ready();
  }
}

/** One time of leading. */
class Leading implements NodeObserver {
  readonly listener: KeyspaceListener;
  readonly #clock = new RedisClock();
  readonly #judge: Judge;
  readonly #suspects: Suspects;
  readonly #watch: Watch;
  readonly #learner: Learner;
  readonly #reader: TtlReader;
  #tracked = 0;
  #hearing = false;
  #closed = false;

  constructor(
    topology: Topology,
    registry: SubscriptionRegistry,
    private readonly index: RedisIndex,
    options: WatcherOptions,
    counters: ExpiryCounters,
    private readonly gaps: GapBook,
    private readonly watched: number | undefined,
    private readonly log: Log,
  ) {
    const { target } = options;
    // Nobody listened since then; a group that is new knows no key whose expiry it could have missed.
    if (watched !== undefined) gaps.begin(watched);
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
      gaps,
      counters,
      barrier: () => this.listener.barrier(),
      wanted: (key) => registry.matches(key),
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
    return this.#watch.settledBefore ?? this.watched;
  }

  listening(): void {
    if (this.#closed) return;
    this.#learner.resume();
    if (this.#hearing) return;
    this.#hearing = true;
    this.#suspects.resume();
    void this.#begin();
  }

  lost(): void {
    if (!this.#hearing) return;
    this.#hearing = false;
    const until = this.watchedUntil() ?? this.#clock.now();
    this.#watch.pause();
    this.#learner.pause();
    this.#suspects.pause();
    this.#judge.forget();
    this.gaps.begin(until);
  }

  hint(event: string, redisKey: Buffer): void {
    if (event === 'new') this.#learner.created(redisKey);
    else if (event === 'expire') this.#learner.renewed(redisKey);
    else this.#suspects.changed(redisKey);
  }

  expired(redisKey: Buffer): undefined {
    if (this.#judge.announce(redisKey)) this.#suspects.expired(redisKey);
  }

  ready(): Promise<void> {
    return this.#learner.ready();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.lost();
    this.#learner.close();
    this.listener.close();
  }

  /** From now on all is heard: what fell due in the gap is looked into, and what was deleted in it found. */
  async #begin(): Promise<void> {
    try {
      await this.#reader.readTime();
      if (!this.#hearing) return;
      const inGap = this.gaps.isOpen;
      this.gaps.end(Math.ceil(this.#clock.now()));
      this.#watch.resume();
      this.#tracked = await this.index.size();
      if (inGap) await this.#audit();
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
  }
}
