import { NodeDeadlines } from './deadlines/node-deadlines.js';
import { RedisExpiryError, reasonOf } from './errors/redis-expiry.error.js';
import { ConsumerGroup } from './group/consumer-group.js';
import { newCounters } from './handlers/counters.js';
import { Dispatcher } from './handlers/dispatcher.js';
import type { Expiry, ExpiryHandler } from './handlers/expiry.js';
import { LatenessWindow } from './handlers/lateness-window.js';
import type {
  ExpirySubscription,
  RedisExpiryStatus,
} from './interfaces/status.interface.js';
import { ClusterTopology } from './keyspace/cluster-topology.js';
import { KeyspaceListener } from './keyspace/keyspace-listener.js';
import { StandaloneTopology } from './keyspace/standalone-topology.js';
import {
  type Interest,
  SubscriptionRegistry,
} from './keyspace/subscription-registry.js';
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
  readonly #listener: KeyspaceListener;
  readonly #dispatcher: Dispatcher;
  readonly #groups = new Map<string, ConsumerGroup>();
  readonly #listening: Startup;
  readonly #starts = new Map<string, Startup>();
  #beginDraining!: () => void;
  #drained: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly options: ResolvedOptions,
    private readonly log: Log,
  ) {
    const { target, name, namespace, punctual } = options;
    this.draining = new Promise((resolve) => (this.#beginDraining = resolve));
    this.#topology = target.isCluster
      ? new ClusterTopology(target, name, log)
      : new StandaloneTopology(target, name, log);
    const registry = new SubscriptionRegistry({
      ...target,
      namespace,
      hints: punctual ? ['new', 'expire'] : [],
      wantedFlags: punctual ? 'n' : '',
    });
    this.#listener = new KeyspaceListener(
      this.#topology,
      registry,
      this.#listenerOptions(),
      log,
      punctual &&
        (({ commands }) =>
          new NodeDeadlines(
            commands,
            target.isCluster,
            registry,
            punctual,
            log,
          )),
    );
    this.#dispatcher = new Dispatcher(
      options,
      this.#topology.keys,
      this.#counters,
      log,
    );
    this.#listening = this.#startup(
      async () => {
        await this.#listener.start();
        await this.#listener.listening();
      },
      () => this.#listener.reasons,
    );
  }

  /**
   * Resolves when every node is listened to, and every group works; at once with `lazyConnect`.
   * Rejects with `CONNECT_FAILED` after `connectTimeout`, with `SUBSCRIPTION_REFUSED`, with
   * `NOTIFICATIONS_MISSING`, or with `GROUP_REFUSED`; everything is closed then.
   */
  async start(): Promise<void> {
    if (this.#groups.size === 0) await this.#listening.run();
    await Promise.all([...this.#starts.values()].map((s) => s.run()));
  }

  /** Resolves when all works and the first scan is done. Rejects as `start`, but waits as long as it takes. */
  async ready(): Promise<void> {
    await this.start();
    if (this.#listening.begun) await this.#listener.ready();
    for (const group of this.#groups.values()) await group.ready();
  }

  /** Runs a handler for every expiry of its pattern; in the group that it names, or else the module's. Resolves when every node acknowledged. */
  async handle(
    handler: ExpiryHandler,
    named?: string | false,
  ): Promise<ExpirySubscription> {
    const { pattern } = handler.glob;
    const group = named ?? this.options.group;
    if (typeof group === 'string') return this.#join(group, handler);
    const onExpiry = (expiry: Expiry): void => {
      if (expiry.lateness !== undefined) this.#lateness.add(expiry.lateness);
      this.#dispatcher.offer(handler, expiry);
    };
    return this.#subscribe({ pattern, onExpiry }, pattern, () =>
      this.#dispatcher.remove(handler),
    );
  }

  /** Hands every message of the channels to a function; what it throws or rejects with is logged. */
  async listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    let ended = false;
    const fail = (error: unknown): void =>
      this.log.error(
        `The handler of channel pattern ${JSON.stringify(channelPattern)} failed: ${reasonOf(error)}`,
        error instanceof Error ? error.stack : undefined,
      );
    const onMessage = (...args: [string, string, string]): void => {
      if (ended) return;
      try {
        const result = handler(...args) as PromiseLike<unknown> | undefined;
        if (typeof result?.then === 'function') result.then(undefined, fail);
      } catch (error) {
        fail(error);
      }
    };
    return this.#subscribe(
      { channelPattern, onMessage },
      channelPattern,
      () => (ended = true),
    );
  }

  /** A group that some handler of this instance belongs to. */
  group(name = this.options.group): ConsumerGroup | undefined {
    return typeof name === 'string' ? this.#groups.get(name) : undefined;
  }

  status(): RedisExpiryStatus {
    return {
      nodes: this.#listener.nodes,
      groups: [...this.#groups.values()].map((group) => group.status),
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
    this.#listener.close();
    for (const group of this.#groups.values()) group.close();
    this.#topology.close();
  }

  async #drain(): Promise<void> {
    this.#beginDraining();
    this.#listener.close();
    const groups = [...this.#groups.values()];
    // A group's read may take seconds to end: handlers go on meanwhile.
    const stopped = Promise.all(groups.map((group) => group.stop()));
    if (groups.length > 0) await stopped;
    await this.#dispatcher.drain(this.options.shutdownTimeout);
    await Promise.all(groups.map((group) => group.finish()));
  }

  async #subscribe(
    interest: Interest,
    pattern: string,
    onEnd: () => void,
  ): Promise<ExpirySubscription> {
    this.#assertOpen();
    let ended: Promise<void> | undefined;
    const added = this.#listener.add(interest);
    added.catch(() => undefined);
    await this.#listening.run();
    await added;
    return {
      pattern,
      unsubscribe: () => {
        onEnd();
        return (ended ??= this.#listener.remove(interest));
      },
    };
  }

  async #join(
    name: string,
    handler: ExpiryHandler,
  ): Promise<ExpirySubscription> {
    this.#assertOpen();
    const group = this.#groups.get(name) ?? this.#newGroup(name);
    await group.add(handler);
    await this.#starts.get(name)!.run();
    let ended: Promise<void> | undefined;
    return {
      pattern: handler.glob.pattern,
      unsubscribe: () => {
        this.#dispatcher.remove(handler);
        return (ended ??= group.remove(handler));
      },
    };
  }

  #newGroup(name: string): ConsumerGroup {
    const { target, namespace, retry, leaseDuration, punctual } = this.options;
    if (!punctual || target.isCluster) {
      throw new RedisExpiryError(
        'GROUP_REFUSED',
        `Group "${name}" cannot work ${
          punctual
            ? 'on a Cluster yet: use broadcast there'
            : 'with punctual: false: its events come from watching deadlines'
        }.`,
      );
    }
    const group = new ConsumerGroup(
      name,
      {
        ...this.#listenerOptions(),
        target,
        namespace,
        retry,
        leaseDuration,
        punctual,
      },
      {
        topology: this.#topology,
        dispatcher: this.#dispatcher,
        counters: this.#counters,
        lateness: this.#lateness,
        log: this.log,
      },
    );
    this.#groups.set(name, group);
    this.#starts.set(
      name,
      this.#startup(
        () => group.start(),
        () => group.reasons,
      ),
    );
    return group;
  }

  #listenerOptions() {
    const { target, namespace, notifications } = this.options;
    const ownPrefix = `${target.keyPrefix}${namespace}:`;
    return { ...target, notifications, ownPrefix };
  }

  #startup(
    work: () => Promise<void>,
    reasons: () => readonly string[],
  ): Startup {
    return new Startup(work, {
      ...this.options.target,
      log: this.log,
      reasons,
      onFailed: () => this.close(),
    });
  }

  #assertOpen(): void {
    if (this.#drained || this.#closed)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
  }
}
