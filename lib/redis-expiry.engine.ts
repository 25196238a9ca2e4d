import { RedisExpiryError, reasonOf } from './errors/redis-expiry.error.js';
import { NodeDeadlines } from './deadlines/node-deadlines.js';
import { newCounters } from './handlers/counters.js';
import { Dispatcher } from './handlers/dispatcher.js';
import type { ExpiryHandler } from './handlers/expiry.js';
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

/**
 * The module without Nest: puts the parts together and gives them one life.
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
  readonly #subscriptions = new Set<ExpirySubscription>();
  #beginDraining!: () => void;
  #started: Promise<void> | undefined;
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
      hints: punctual !== undefined,
    });
    this.#listener = new KeyspaceListener(
      this.#topology,
      registry,
      {
        ...target,
        notifications: options.notifications,
        ownPrefix: `${target.keyPrefix}${namespace}:`,
      },
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
  }

  /**
   * Resolves when every node is listened to; at once with `lazyConnect`. Rejects with
   * `CONNECT_FAILED` after `connectTimeout`, with `SUBSCRIPTION_REFUSED`, or with
   * `NOTIFICATIONS_MISSING`; everything is closed then.
   */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /** Resolves when every node is listened to and the first scan is done. Rejects as `start`, but waits as long as it takes. */
  async ready(): Promise<void> {
    await this.start();
    await this.#listener.ready();
  }

  /** Runs a handler for every expiry of its pattern. Resolves when every node acknowledged. */
  handle(handler: ExpiryHandler): Promise<ExpirySubscription> {
    const { pattern } = handler.glob;
    return this.#subscribe(
      pattern,
      {
        pattern,
        onExpiry: (expiry) => {
          if (expiry.lateness !== undefined)
            this.#lateness.add(expiry.lateness);
          this.#dispatcher.offer(handler, expiry);
        },
      },
      () => this.#dispatcher.remove(handler),
    );
  }

  /** Hands every message of the channels to a function; what it throws or rejects with is logged. */
  listen(
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
      channelPattern,
      { channelPattern, onMessage },
      () => (ended = true),
    );
  }

  status(): RedisExpiryStatus {
    return {
      nodes: this.#listener.nodes,
      counters: { ...this.#counters },
      lateness: this.#lateness.status,
      queued: this.#dispatcher.queued,
      running: this.#dispatcher.running,
    };
  }

  /** Stops listening, and waits `shutdownTimeout` ms at most for what is queued and running. Never rejects. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Closes every connection. */
  close(): void {
    this.#closed = true;
    this.#beginDraining();
    this.#listener.close();
    this.#topology.close();
  }

  async #start(): Promise<void> {
    if (this.#closed)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
    const listening = this.#listener
      .start()
      .then(() => this.#listener.listening());
    if (this.options.target.lazyConnect) {
      // Nobody waits: what goes wrong is in the log and in status(), and is tried again.
      listening.catch((error: unknown) => this.log.error(reasonOf(error)));
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const { connectTimeout } = this.options.target;
      timer = setTimeout(
        () => reject(this.#notConnected(connectTimeout)),
        connectTimeout,
      );
    });
    try {
      await Promise.race([listening, late]);
    } catch (error) {
      listening.catch(() => undefined);
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #notConnected(timeout: number): RedisExpiryError {
    const reasons = this.#listener.nodes
      .filter(({ state }) => state !== 'listening' && state !== 'deaf')
      .map((n) => `${n.address}: ${n.lastError ?? n.state}`);
    return new RedisExpiryError(
      'CONNECT_FAILED',
      `Redis was not reached within ${timeout} ms (connectTimeout): ` +
        `${reasons.join('; ') || 'no node answered'}. ` +
        'Check the option "connection", or set lazyConnect in it so that start-up does not wait.',
    );
  }

  async #subscribe(
    pattern: string,
    interest: Interest,
    onEnd: () => void,
  ): Promise<ExpirySubscription> {
    if (this.#drained || this.#closed)
      throw new RedisExpiryError('CLOSED', 'The module was shut down.');
    let ended: Promise<void> | undefined;
    const subscription: ExpirySubscription = {
      pattern,
      unsubscribe: () => {
        this.#subscriptions.delete(subscription);
        onEnd();
        return (ended ??= this.#listener.remove(interest));
      },
    };
    const added = this.#listener.add(interest);
    added.catch(() => undefined);
    await this.start();
    await added;
    this.#subscriptions.add(subscription);
    return subscription;
  }

  async #drain(): Promise<void> {
    this.#beginDraining();
    // Nothing was started: there is nothing to wait for.
    if (!this.#started) return;
    const { shutdownTimeout } = this.options;
    this.#listener.close();
    await this.#dispatcher.drain(shutdownTimeout);
  }
}
