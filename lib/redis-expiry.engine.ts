import { Broadcast } from './broadcast.js';
import { RedisExpiryError } from './errors/redis-expiry.error.js';
import { ConsumerGroup } from './group/consumer-group.js';
import { newCounters } from './handlers/counters.js';
import { Dispatcher } from './handlers/dispatcher.js';
import type { ExpiryHandler } from './handlers/expiry.js';
import { LatenessWindow } from './handlers/lateness-window.js';
import type {
  ExpirySubscription,
  RedisExpiryStatus,
} from './interfaces/status.interface.js';
import { ClusterTopology } from './keyspace/cluster-topology.js';
import type { ListenerOptions } from './keyspace/node-status.js';
import { StandaloneTopology } from './keyspace/standalone-topology.js';
import type { Topology } from './keyspace/topology.js';
import type { Log } from './log.js';
import type { ResolvedOptions } from './options.js';
import { Startup } from './startup.js';

/**
 * The module without Nest: puts the parts together and gives them one life. What is broadcast has a
 * listener; each group has its own watcher and consumer; all share one dispatcher.
 *
 * States: idle → `start` → running → `drain` → draining → `close` → closed. A start that fails
 * ends closed. Starting, draining and closing happen once, however often they are asked for.
 */
export class RedisExpiryEngine {
  /** Resolves when shutdown begins. */
  readonly draining: Promise<void>;
  readonly #counters = newCounters();
  readonly #lateness = new LatenessWindow();
  readonly #topology: Topology;
  readonly #dispatcher: Dispatcher;
  readonly #broadcast: Broadcast;
  readonly #groups = new Map<
    string,
    { group: ConsumerGroup; startup: Startup }
  >();
  #beginDraining!: () => void;
  #drained: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly options: ResolvedOptions,
    private readonly log: Log,
  ) {
    const { target, name } = options;
    this.draining = new Promise((resolve) => (this.#beginDraining = resolve));
    this.#topology = target.isCluster
      ? new ClusterTopology(target, name, log)
      : new StandaloneTopology(target, name, log);
    this.#dispatcher = new Dispatcher(
      options,
      this.#topology.keys,
      this.#counters,
      log,
    );
    this.#broadcast = new Broadcast(options, {
      topology: this.#topology,
      dispatcher: this.#dispatcher,
      lateness: this.#lateness,
      listenerOptions: this.#listenerOptions,
      onFailed: () => this.close(),
      log,
    });
  }

  /**
   * Resolves when every node is listened to, and every group works; at once with `lazyConnect`.
   * Rejects with `CONNECT_FAILED` after `connectTimeout`, with `SUBSCRIPTION_REFUSED`, with
   * `NOTIFICATIONS_MISSING`, or with `GROUP_REFUSED`; everything is closed then.
   */
  async start(): Promise<void> {
    const groups = [...this.#groups.values()];
    // Without any handler too: whether Redis can be reached should show at start.
    if (groups.length === 0) await this.#broadcast.start();
    await Promise.all(groups.map(({ startup }) => startup.run()));
  }

  /** Resolves when all works and the first scan is done. Rejects as `start`, but waits as long as it takes. */
  async ready(): Promise<void> {
    await this.start();
    await this.#broadcast.ready();
    for (const { group } of this.#groups.values()) await group.ready();
  }

  /**
   * Runs a handler for every expiry of its pattern: in the group that it names, or else in the
   * module's; `false` or none is broadcast. Resolves when every node acknowledged.
   */
  async handle(
    handler: ExpiryHandler,
    named?: string | false,
  ): Promise<ExpirySubscription> {
    this.#assertOpen();
    const group = named ?? this.options.group;
    return typeof group === 'string'
      ? this.#join(group, handler)
      : this.#broadcast.handle(handler);
  }

  /** Hands every message of the channels to a function. */
  async listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    this.#assertOpen();
    return this.#broadcast.listen(channelPattern, handler);
  }

  /** A group that some handler of this instance belongs to; the module's, if none is named. */
  group(name = this.options.group): ConsumerGroup | undefined {
    return name === undefined ? undefined : this.#groups.get(name)?.group;
  }

  status(): RedisExpiryStatus {
    return {
      nodes: this.#broadcast.nodes,
      groups: [...this.#groups.values()].map(({ group }) => group.status),
      counters: { ...this.#counters },
      lateness: this.#lateness.status,
      queued: this.#dispatcher.queued,
      running: this.#dispatcher.running,
    };
  }

  /** Stops listening and taking, and waits `shutdownTimeout` ms at most for what is queued and running. Never rejects. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Closes every connection. */
  close(): void {
    this.#closed = true;
    this.#beginDraining();
    this.#broadcast.close();
    for (const { group, startup } of this.#groups.values()) {
      startup.close();
      group.close();
    }
    this.#topology.close();
  }

  async #drain(): Promise<void> {
    this.#beginDraining();
    this.#broadcast.close();
    const groups = [...this.#groups.values()];
    await Promise.all(groups.map(({ group }) => group.stop()));
    await this.#dispatcher.drain(this.options.shutdownTimeout);
    await Promise.all(groups.map(({ group }) => group.finish()));
  }

  async #join(
    name: string,
    handler: ExpiryHandler,
  ): Promise<ExpirySubscription> {
    const { group, startup } = this.#groups.get(name) ?? this.#newGroup(name);
    await group.add(handler);
    await startup.run();
    let ended: Promise<void> | undefined;
    return {
      pattern: handler.glob.pattern,
      unsubscribe: () => {
        this.#dispatcher.remove(handler);
        return (ended ??= group.remove(handler));
      },
    };
  }

  #newGroup(name: string): { group: ConsumerGroup; startup: Startup } {
    const { target, punctual } = this.options;
    if (!punctual) {
      throw new RedisExpiryError(
        'GROUP_REFUSED',
        `Group "${name}" cannot work with punctual: false: its events come from watching deadlines.`,
      );
    }
    const group = new ConsumerGroup(
      name,
      { ...this.options, ...this.#listenerOptions, punctual },
      {
        topology: this.#topology,
        dispatcher: this.#dispatcher,
        counters: this.#counters,
        lateness: this.#lateness,
        log: this.log,
      },
    );
    const startup = new Startup(() => group.start(), {
      ...target,
      reasons: () => group.reasons,
      onFailed: () => this.close(),
      log: this.log,
    });
    const member = { group, startup };
    this.#groups.set(name, member);
    return member;
  }

  get #listenerOptions(): ListenerOptions {
    const { target, namespace, notifications } = this.options;
    const ownPrefix = `${target.keyPrefix}${namespace}:`;
    return { ...target, notifications, ownPrefix };
  }

  #assertOpen(): void {
    if (this.#drained || this.#closed)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
  }
}
