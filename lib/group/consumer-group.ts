import { type ValueKinds, kindOf } from '../dispatch/event-value.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { NodeStatus } from '../listening/node-status.js';
import { type Interest, interestOf } from '../listening/interests.js';
import { within } from '../util/within.js';
import type { Backlog } from './backlog.js';
import type { DeadLetters } from './dead-letters.js';
import {
  type GroupOptions,
  type GroupParts,
  type SharedParts,
  groupParts,
} from './group-parts.js';
import type { PartitionStatus } from './partition-member.js';
import { totalOf } from './partition-members.js';
import {
  checkOneSlot,
  checkServer,
  checkValues,
  explained,
} from './server-check.js';

/** Ms that shutdown waits for Redis to take notice. */
const PATIENCE_MS = 2_500;

/** What `status()` tells of one group, as of a few seconds ago. Its figures are those of all partitions together. */
export interface GroupStatus extends Partial<Backlog> {
  readonly group: string;
  /** Whether this instance watches the deadlines of some partition. */
  readonly leads: boolean;
  /** The nodes that it listens to, while it leads. */
  readonly nodes: readonly NodeStatus[];
  /** Each partition of the group: one, or as many as a Cluster has primaries. */
  readonly partitions: readonly PartitionStatus[];
  /** What the server says while it refuses the group's writes: it lacks replicas, memory or disk space. */
  readonly lastError?: string;
}

/**
 * One consumer group in one instance: takes its share of the events, and stands by to watch the
 * deadlines.
 *
 * States: new → `start` → running → `stop` → `finish` → `close`. A start that failed may be tried
 * again, or be ended by the same three steps, which leave nothing of it.
 */
export class ConsumerGroup {
  readonly #parts: GroupParts;
  readonly #interests = new Map<ExpiryHandler, Interest>();
  #started: Promise<void> | undefined;
  /** The types of values of which it is known that they may be read. */
  #checkedKinds: ValueKinds | undefined;
  /** A start was begun at some time: even if it failed, there may be something to end. */
  #begun = false;

  constructor(
    private readonly group: string,
    private readonly options: GroupOptions,
    private readonly shared: SharedParts,
  ) {
    this.#parts = groupParts(group, options, shared);
  }

  get name(): string {
    return this.group;
  }

  get letters(): DeadLetters {
    return this.#parts.letters;
  }

  get status(): GroupStatus {
    const { lastError } = this.#parts.refusals;
    const partitions = this.#parts.members.status;
    return {
      group: this.group,
      ...totalOf(partitions),
      partitions,
      ...(lastError !== undefined && { lastError }),
    };
  }

  /** What keeps it from working, in words. */
  get reasons(): string[] {
    return this.#parts.members.reasons;
  }

  /** Whether no handler belongs to it. */
  get isEmpty(): boolean {
    return this.#parts.handlers.isEmpty;
  }

  /** All handlers that the application has from the start were added. */
  complete(): void {
    this.#parts.registry.complete();
  }

  /** Adds a handler; resolves when whoever leads listens for its pattern. `served` tells whether it may. */
  async add(handler: ExpiryHandler): Promise<void> {
    const { handlers, patterns, members, registry } = this.#parts;
    // Events come by the stream: all that the watcher needs is the pattern.
    const { glob, before, value } = handler;
    const interest = interestOf(
      ...([glob.pattern, before, () => undefined, kindOf(value)] as const),
    );
    handlers.add(handler);
    this.#interests.set(handler, interest);
    patterns.add(interest);
    // A start that begins after this tells of all patterns.
    const started = this.#started;
    await members.refresh();
    if (!started) return;
    await started.catch(() => undefined);
    // What goes wrong here goes wrong at the start, which says so, or is tried again soon.
    await registry.note().catch(() => undefined);
    await registry.untilListened();
  }

  async remove(handler: ExpiryHandler): Promise<void> {
    const { handlers, patterns, members, registry, home } = this.#parts;
    const interest = this.#interests.get(handler);
    handlers.remove(handler);
    this.#interests.delete(handler);
    if (interest) patterns.remove(interest);
    const withdrawn = registry.note().catch(() => undefined);
    await members.refresh();
    // Without a connection it is withdrawn by the next note, once there is one.
    if (home.commands.connected) await withdrawn;
  }

  /**
   * Resolves when a handler's pattern is listened for. Where another instance watches, that one has
   * been told. Rejects with `SUBSCRIPTION_REFUSED` or `CLOSED`; with `GROUP_REFUSED` where it asks for values
   * that may not be read.
   */
  async served({ glob, value }: ExpiryHandler): Promise<void> {
    await this.#parts.members.served(glob.pattern);
    if (value !== undefined) await this.#checkValues();
  }

  /**
   * Resolves when events are taken and the deadlines are watched, by this instance or another one.
   * Rejects with `GROUP_REFUSED`, or as the listener does.
   */
  start(): Promise<void> {
    this.#begun = true;
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** Once it is started: resolves when the first scan is done, if this instance leads. */
  ready(): Promise<void> {
    return this.#parts.members.ready();
  }

  /** Takes nothing more, and hands the watch over. Never rejects. */
  async stop(): Promise<void> {
    if (!this.#begun) return;
    const { members, registry } = this.#parts;
    const stopped = Promise.all([members.stop(), registry.stop()]);
    // While Redis is away there is nobody to hand anything over to.
    await within(PATIENCE_MS, stopped).catch((error: unknown) =>
      this.shared.log.debug(reasonOf(error)),
    );
  }

  /** Ends it for good where nothing of it is to be handled any more. Never rejects. */
  async end(): Promise<void> {
    // While Redis is away there is nobody to hand anything over to.
    if (this.#parts.home.commands.connected) {
      await this.stop();
      await this.finish();
    }
    this.close();
  }

  /** After `stop` and once its handlers have ended: tells Redis. Never rejects. */
  async finish(): Promise<void> {
    if (this.#begun) await this.#parts.members.finish();
  }

  close(): void {
    const { registry, members, refusals } = this.#parts;
    registry.close();
    members.close();
    refusals.close();
  }

  async #start(): Promise<void> {
    const { home, members, registry } = this.#parts;
    await this.shared.topology.start();
    const { isCluster, keyPrefix } = this.options.target;
    if (isCluster) checkOneSlot(this.group, home.keys, keyPrefix);
    try {
      await this.#work();
    } catch (error) {
      // It takes no events: nobody may count on its handlers.
      const withdrawn = registry.withdraw().catch(() => undefined);
      if (home.commands.connected) await within(PATIENCE_MS, withdrawn);
      // Where the connections lead may be another server the next time.
      members.release();
      throw explained(error, this.group);
    }
    await members.listening();
  }

  async #checkValues(): Promise<void> {
    const { home, patterns } = this.#parts;
    const { kinds } = patterns.values;
    if (kinds === this.#checkedKinds) return;
    await checkValues(home, this.group, patterns.values);
    this.#checkedKinds = kinds;
  }

  async #work(): Promise<void> {
    const { home, members, registry } = this.#parts;
    await checkServer(home, this.group, this.shared.log);
    await this.#checkValues();
    // First of all: what is taken by then may be for a handler of this instance only.
    await registry.start();
    await members.start();
    await registry.untilListened();
  }
}
