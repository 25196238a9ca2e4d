import { AnnouncementJudge } from '../deadlines/announcement-judge.js';
import { invalidOption, reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import { kindOf } from '../dispatch/event-value.js';
import type { Expiry, ExpiryHandler } from '../dispatch/expiry.js';
import type { GraceWaits } from '../dispatch/grace-waits.js';
import type { LatenessWindow } from '../dispatch/lateness-window.js';
import type { ExpirySubscription } from './status.js';
import { needsOfChannel } from '../listening/channel-needs.js';
import { KeyspaceListener } from '../listening/keyspace-listener.js';
import type { ListenerOptions, NodeStatus } from '../listening/node-status.js';
import { SubscriptionRegistry } from '../listening/subscription-registry.js';
import { type Interest, interestOf } from '../listening/interests.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { assertWatched } from './expiry-engine.js';
import type { LocatedOptions } from './options.js';
import { type Startable, Startup } from './startup.js';

/** What broadcast shares with the rest of the engine. */
export interface BroadcastParts {
  readonly topology: Topology;
  readonly dispatcher: Dispatcher;
  /** Where expiries wait for the grace of their handlers. */
  readonly graceWaits: GraceWaits;
  readonly lateness: LatenessWindow;
  readonly counters: ExpiryCounters;
  readonly listenerOptions: ListenerOptions;
  readonly log: Log;
}

/**
 * Runs handlers in this instance for every expiry that this instance hears. The engine has one. It has one
 * listener, which starts with the first subscription, or with the application.
 *
 * Guarantees: a subscription that is refused, or for which Redis was not reached in time, is taken
 * back and touches no other. A listener that was started for it alone is closed, and the next
 * subscription starts another one.
 */
export class Broadcast implements Startable {
  readonly #registry: SubscriptionRegistry;
  readonly #startup: Startup;
  #listener: KeyspaceListener;

  constructor(
    private readonly options: LocatedOptions,
    private readonly parts: BroadcastParts,
  ) {
    const { target, namespace, punctual } = options;
    this.#registry = new SubscriptionRegistry({
      ...target,
      namespace,
      hints: punctual ? ['new', 'expire'] : [],
      wantedFlags: punctual ? 'n' : '',
    });
    this.#startup = new Startup(this, { ...target, log: parts.log });
    this.#listener = this.#newListener();
  }

  get nodes(): NodeStatus[] {
    return this.#listener.nodes;
  }

  /** Why nodes are not listened to, in words. */
  get reasons(): string[] {
    return this.#listener.reasons;
  }

  /** Whether it listens, or is about to. */
  get begun(): boolean {
    return this.#startup.begun;
  }

  /** Resolves when every node is listened to and the first scan is done; starts it if nothing did. */
  async ready(): Promise<void> {
    await this.#startup.run();
    await this.#listener.ready();
  }

  /**
   * Runs the application's own handlers from now on, and listens even if there are none. Resolves when
   * every node acknowledged; with `lazyConnect` at once. See `Startup.keep`.
   */
  async keep(handlers: readonly ExpiryHandler[]): Promise<void> {
    for (const handler of handlers) this.#assertLooks(handler);
    for (const handler of handlers)
      this.#registry.add(this.#interestOf(handler));
    await this.#startup.keep(async () => {
      const patterns = new Set(handlers.map(({ glob }) => glob.pattern));
      await Promise.all([...patterns].map((p) => this.#listener.served(p)));
    });
  }

  /** Runs a handler for every expiry of its pattern. Resolves when every node acknowledged. */
  async handle(handler: ExpiryHandler): Promise<ExpirySubscription> {
    this.#assertLooks(handler);
    return this.#subscribe(
      this.#interestOf(handler),
      handler.glob.pattern,
      () => {
        this.parts.graceWaits.remove(handler);
        this.parts.dispatcher.remove(handler);
      },
    );
  }

  /** Hands every message of the channels to a function; its errors are logged. */
  listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    this.#warnOfUnknown(channelPattern);
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

  #warnOfUnknown(channelPattern: string): void {
    const { unknown } = needsOfChannel(channelPattern) ?? {};
    if (unknown === undefined || this.options.notifications === 'off') return;
    this.parts.log.warn(
      `psubscribe(${JSON.stringify(channelPattern)}): ${unknown} is not known, so no flag of notify-keyspace-events is added for it. ` +
        'Nothing is heard of it unless the server has the flag already: set it there',
    );
  }

  /** For `Startup`: resolves when every node is listened to. */
  async start(): Promise<void> {
    const listener = this.#listener;
    await listener.start();
    await listener.listening();
  }

  /** For `Startup`: closes the listener. */
  undo(): Promise<void> {
    this.#listener.close();
    this.#listener = this.#newListener();
    return Promise.resolve();
  }

  /** Nothing is heard any more, and what waits for the grace of its handler is dropped. */
  close(): void {
    this.#startup.close();
    this.#listener.close();
    this.parts.graceWaits.close();
  }

  #newListener(): KeyspaceListener {
    const { topology, listenerOptions, graceWaits, log } = this.parts;
    const { punctual, values } = this.options;
    const { counters } = this.parts;
    const registry = this.#registry;
    const onCreated = (key: Buffer): void => graceWaits.returned(key);
    const judged = {
      ...{ patterns: registry, values, counters, log, onCreated },
    };
    return new KeyspaceListener(
      topology,
      registry,
      listenerOptions,
      log,
      punctual &&
        ((node) => new AnnouncementJudge(node, { ...judged, punctual }).watch),
    );
  }

  /** Values are read by looking at keys. */
  #assertLooks({ value }: ExpiryHandler): void {
    if (value !== undefined && !this.options.punctual)
      throw invalidOption(
        'value',
        value,
        'none with punctual: false, which looks at no key',
      );
  }

  #interestOf(handler: ExpiryHandler): Interest {
    assertWatched(handler, this.options);
    const { dispatcher, graceWaits, lateness, counters } = this.parts;
    const onExpiry = (expiry: Expiry): void => {
      if (expiry.source === 'recovery') counters.recovered++;
      else if (expiry.lateness !== undefined) lateness.add(expiry.lateness);
      if (handler.grace === undefined) dispatcher.offer(handler, expiry);
      else graceWaits.add(handler, expiry);
    };
    const { glob, before, value } = handler;
    return interestOf(glob.pattern, before, onExpiry, kindOf(value));
  }

  async #subscribe(
    interest: Interest,
    pattern: string,
    onEnd: () => void,
  ): Promise<ExpirySubscription> {
    // Added before the start, which subscribes at once to whatever is there.
    this.#registry.add(interest);
    try {
      await this.#startup.run();
      await this.#listener.served(pattern);
      // The pattern may be listened for already, and values of its keys asked for from now on.
      if ('values' in interest && interest.values)
        await this.#listener.refresh();
    } catch (error) {
      onEnd();
      await this.#listener.remove(interest);
      if (this.#registry.isEmpty) await this.#startup.release();
      throw error;
    }
    let ended: Promise<void> | undefined;
    return {
      pattern,
      unsubscribe: () => {
        onEnd();
        return (ended ??= this.#listener.remove(interest));
      },
    };
  }
}
