import type { Commands } from '../connection/commands.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { NodeStatus } from '../listening/node-status.js';
import { SubscriptionRegistry } from '../listening/subscription-registry.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import type { GroupKeys } from './group-keys.js';
import { LeaderTerm, type WatcherOptions } from './leader-term.js';
import type { LeaseHolder } from './leader-lease.js';
import { RedisIndex } from './redis-index.js';
import { Term } from './term.js';
import type { WriteRefusals } from './write-refusals.js';

/** Events that tell that a key's deadline came, changed or went. */
const HINTS = ['new', 'expire', 'del', 'rename_from', 'move_from', 'evicted'];

/**
 * Watches a group's deadlines while it holds the lease: listens, learns, looks when keys are due,
 * and appends what expired to the group's events.
 *
 * States: following (does nothing) ⇄ leading, where every node is either listened to or in a gap.
 *
 * Guarantees: it acts only under the lease, and what it does in one term ends with that term;
 * `watchedUntil` never passes a deadline that is not
 * settled, so whatever happens to this process, the next holder knows what to look into.
 */
export class GroupWatcher implements LeaseHolder {
  /** The patterns of the group's handlers. */
  readonly registry: SubscriptionRegistry;
  #leading: LeaderTerm | undefined;

  constructor(
    private readonly topology: Topology,
    /** To the server that holds the group's own keys. */
    private readonly commands: Commands,
    private readonly refusals: WriteRefusals,
    private readonly keys: GroupKeys,
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

  /** Whether this instance is the one that watches. */
  get leads(): boolean {
    return this.#leading !== undefined;
  }

  get nodes(): NodeStatus[] {
    return this.#leading?.listener.nodes ?? [];
  }

  /** What keeps it from listening, in words. */
  get reasons(): string[] {
    return this.#leading?.listener.reasons ?? [];
  }

  onHeld(token: string, watched: number | undefined): void {
    const term = new Term(token, this.refusals);
    this.#leading = new LeaderTerm(
      term,
      this.topology,
      this.registry,
      new RedisIndex(term.commands(this.commands), this.keys, term),
      this.options,
      this.counters,
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

  /** Resolves when every node acknowledged a pattern, if this instance leads. Rejects as the listener does. */
  async served(pattern: string): Promise<void> {
    await this.#leading?.listener.served(pattern);
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
