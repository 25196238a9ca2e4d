import { NodeDeadlines } from './deadlines/node-deadlines.js';
import { reasonOf } from './errors/redis-expiry.error.js';
import type { Dispatcher } from './handlers/dispatcher.js';
import type { Expiry, ExpiryHandler } from './handlers/expiry.js';
import type { LatenessWindow } from './handlers/lateness-window.js';
import type { ExpirySubscription } from './interfaces/status.interface.js';
import { KeyspaceListener } from './keyspace/keyspace-listener.js';
import type { ListenerOptions, NodeStatus } from './keyspace/node-status.js';
import {
  type Interest,
  SubscriptionRegistry,
} from './keyspace/subscription-registry.js';
import type { Topology } from './keyspace/topology.js';
import type { Log } from './log.js';
import type { ResolvedOptions } from './options.js';
import { Startup } from './startup.js';

/** What broadcast shares with the rest of the engine. */
export interface BroadcastParts {
  readonly topology: Topology;
  readonly dispatcher: Dispatcher;
  readonly lateness: LatenessWindow;
  readonly listenerOptions: ListenerOptions;
  /** A start failed: nothing may stay behind. */
  readonly onFailed: () => void;
  readonly log: Log;
}

/**
 * Runs handlers in this instance for whatever this instance hears: one listener, which starts with
 * the first subscription, or when it is asked to.
 */
export class Broadcast {
  readonly #listener: KeyspaceListener;
  readonly #startup: Startup;

  constructor(
    { target, namespace, punctual }: ResolvedOptions,
    private readonly parts: BroadcastParts,
  ) {
    const { topology, listenerOptions, onFailed, log } = parts;
    const registry = new SubscriptionRegistry({
      ...target,
      namespace,
      hints: punctual ? ['new', 'expire'] : [],
      wantedFlags: punctual ? 'n' : '',
    });
    this.#listener = new KeyspaceListener(
      topology,
      registry,
      listenerOptions,
      log,
      punctual &&
        ((node) =>
          new NodeDeadlines(node, target.isCluster, registry, punctual, log)),
    );
    this.#startup = new Startup(() => this.#listen(), {
      ...target,
      reasons: () => this.#listener.reasons,
      onFailed,
      log,
    });
  }

  get nodes(): NodeStatus[] {
    return this.#listener.nodes;
  }

  /** Resolves when every node is listened to; see `Startup`. */
  start(): Promise<void> {
    return this.#startup.run();
  }

  /** If it was started: resolves when every node is listened to and the first scan is done. */
  async ready(): Promise<void> {
    if (this.#startup.begun) await this.#listener.ready();
  }

  /** Runs a handler for every expiry of its pattern. Resolves when every node acknowledged. */
  handle(handler: ExpiryHandler): Promise<ExpirySubscription> {
    const { pattern } = handler.glob;
    const { dispatcher, lateness } = this.parts;
    const onExpiry = (expiry: Expiry): void => {
      if (expiry.lateness !== undefined) lateness.add(expiry.lateness);
      dispatcher.offer(handler, expiry);
    };
    return this.#subscribe({ pattern, onExpiry }, pattern, () =>
      dispatcher.remove(handler),
    );
  }

  /** Hands every message of the channels to a function; what it throws or rejects with is logged. */
  listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    let ended = false;
    const fail = (error: unknown): void =>
      this.parts.log.error(
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

  close(): void {
    this.#startup.close();
    this.#listener.close();
  }

  async #listen(): Promise<void> {
    await this.#listener.start();
    await this.#listener.listening();
  }

  async #subscribe(
    interest: Interest,
    pattern: string,
    onEnd: () => void,
  ): Promise<ExpirySubscription> {
    let ended: Promise<void> | undefined;
    // Added before it starts: what is there by then is subscribed to at once.
    const added = this.#listener.add(interest);
    added.catch(() => undefined);
    await this.start();
    await added;
    return {
      pattern,
      unsubscribe: () => {
        onEnd();
        return (ended ??= this.#listener.remove(interest));
      },
    };
  }
}
