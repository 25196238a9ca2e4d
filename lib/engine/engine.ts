import { Broadcast } from './broadcast.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import { ConsumerGroup } from '../group/consumer-group.js';
import { newCounters } from '../dispatch/counters.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import { LatenessWindow } from '../dispatch/lateness-window.js';
import { Places } from '../dispatch/places.js';
import type { ExpiryEngine, OwnHandler } from './expiry-engine.js';
import type { ExpirySubscription, RedisExpiryStatus } from './status.js';
import { ClusterTopology } from '../topology/cluster-topology.js';
import type { ListenerOptions } from '../listening/node-status.js';
import { StandaloneTopology } from '../topology/standalone-topology.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { Membership } from './membership.js';
import type { ResolvedOptions } from './options.js';

/**
 * The module without Nest: it puts the parts together and gives them one life. The Nest module makes one from
 * its options, starts it with the handlers that it found, and closes it. Broadcast has a listener; each
 * group has its own watch and consumer; all share one topology and one dispatcher.
 *
 * States:
 * - *idle* (at first): nothing is connected. A subscription by hand connects what it needs.
 * - *running* (after `start`): the application's own handlers run. A start that fails ends *closed*. With
 *   `enabled: false` there are none, and nothing is connected for them.
 * - *draining* (after `drain`): nothing is listened to or taken, and handlers in flight are waited for.
 * - *closed* (after `close`): every connection is closed.
 *
 * Guarantees: it starts, drains and closes once, however often it is asked to. A subscription by hand,
 * before or after the start, fails for its caller alone.
 */
export class RedisExpiryEngine implements ExpiryEngine {
  readonly #counters = newCounters();
  readonly #lateness = new LatenessWindow();
  readonly #topology: Topology;
  readonly #dispatcher: Dispatcher;
  readonly #places: Places;
  readonly #broadcast: Broadcast;
  readonly #memberships = new Map<string, Membership>();
  readonly #onDraining = new Set<() => void>();
  #started: Promise<void> | undefined;
  /** Whether the application's own handlers were all added. */
  #isComplete = false;
  #drained: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly options: ResolvedOptions,
    private readonly log: Log,
  ) {
    const { target, name } = options;
    this.#topology = target.isCluster
      ? new ClusterTopology(target, name, log)
      : new StandaloneTopology(target, name, log);
    this.#dispatcher = new Dispatcher(
      options,
      this.#topology.keys,
      this.#counters,
      log,
    );
    this.#places = new Places(this.#dispatcher);
    this.#broadcast = new Broadcast(options, {
      topology: this.#topology,
      dispatcher: this.#dispatcher,
      lateness: this.#lateness,
      listenerOptions: this.#listenerOptions,
      log,
    });
  }

  /**
   * The application's own start, with its own handlers. Resolves when every node is listened to, and
   * every group works; with `lazyConnect` at once. Rejects with `CONNECT_FAILED` after
   * `connectTimeout`, with `SUBSCRIPTION_REFUSED`, with `NOTIFICATIONS_MISSING`, or with
   * `GROUP_REFUSED`; everything is closed then.
   */
  start(handlers: readonly OwnHandler[] = []): Promise<void> {
    this.#started ??= this.#start(handlers).catch((error: unknown) => {
      this.close();
      throw error;
    });
    return this.#started;
  }

  /**
   * Resolves when everything works and the first scan is done; at once with `enabled: false`, where nothing was
   * subscribed to by hand. Rejects as `start` does, but waits as long as it takes.
   */
  async ready(): Promise<void> {
    await this.#started;
    const members = [...this.#memberships.values()];
    const isIdle = members.length === 0 && this.options.enabled;
    if (this.#broadcast.begun || isIdle) await this.#broadcast.ready();
    for (const member of members) await member.ready();
  }

  /**
   * Runs a handler for every expiry of its pattern: in the group that it names, or else in the
   * module's; `false` or none is broadcast. Resolves when every node acknowledged; rejects as `start`,
   * and then nothing is left of it and all else goes on.
   */
  async handle({ group, ...handler }: OwnHandler): Promise<ExpirySubscription> {
    this.#assertOpen();
    const name = this.#groupOf(group);
    return name === undefined
      ? this.#broadcast.handle(handler)
      : this.#inGroup(name, (member) => member.handle(handler));
  }

  /** Hands every message of the channels to a function. Resolves and rejects as `handle`. */
  async listen(
    channelPattern: string,
    handler: (pattern: string, channel: string, message: string) => unknown,
  ): Promise<ExpirySubscription> {
    this.#assertOpen();
    return this.#broadcast.listen(channelPattern, handler);
  }

  /** A group that some handler of this instance belongs to; the module's, if none is named. */
  group(name = this.options.group): ConsumerGroup | undefined {
    return name === undefined ? undefined : this.#memberships.get(name)?.group;
  }

  status(): RedisExpiryStatus {
    return {
      nodes: this.#broadcast.nodes,
      groups: [...this.#memberships.values()].map(({ group }) => group.status),
      counters: { ...this.#counters },
      lateness: this.#lateness.status,
      queued: this.#dispatcher.queued,
      running: this.#dispatcher.running,
      longRunning: this.#dispatcher.longRunning,
    };
  }

  /** Calls back once, when shutdown begins, or at once if it has begun. Returns a function that takes the callback back. */
  onDraining(callback: () => void): () => void {
    if (this.#drained || this.#closed) callback();
    else this.#onDraining.add(callback);
    return () => this.#onDraining.delete(callback);
  }

  /** Stops listening and taking events, and waits `shutdownTimeout` ms at most for what is queued and running. Never rejects. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Closes every connection. */
  close(): void {
    this.#closed = true;
    this.#tellDraining();
    this.#broadcast.close();
    for (const member of this.#memberships.values()) member.close();
    this.#topology.close();
  }

  async #start(handlers: readonly OwnHandler[]): Promise<void> {
    this.#assertOpen();
    const broadcast: ExpiryHandler[] = [];
    const grouped = new Map<string, ExpiryHandler[]>();
    for (const { group, ...handler } of handlers) {
      const name = this.#groupOf(group);
      if (name === undefined) broadcast.push(handler);
      else grouped.set(name, [...(grouped.get(name) ?? []), handler]);
    }
    const starts = [...grouped].map(([name, own]) =>
      this.#inGroup(name, (member) => member.keep(own)),
    );
    this.#isComplete = true;
    for (const { group } of this.#memberships.values()) group.complete();
    // Broadcast starts without any handler, too, so that the start shows whether Redis can be reached.
    const isIdle = grouped.size === 0 && this.options.enabled;
    if (broadcast.length > 0 || isIdle)
      starts.push(this.#broadcast.keep(broadcast));
    await Promise.all(starts);
  }

  async #drain(): Promise<void> {
    this.#tellDraining();
    this.#broadcast.close();
    const groups = [...this.#memberships.values()].map(({ group }) => group);
    await Promise.all(groups.map((group) => group.stop()));
    await this.#dispatcher.drain(this.options.shutdownTimeout);
    await Promise.all(groups.map((group) => group.finish()));
  }

  #tellDraining(): void {
    const callbacks = [...this.#onDraining];
    this.#onDraining.clear();
    for (const callback of callbacks) callback();
  }

  /** The group that a handler belongs to; undefined: broadcast. */
  #groupOf(named: string | false | undefined): string | undefined {
    return named === false ? undefined : (named ?? this.options.group);
  }

  /** Uses this instance's membership in a group. One that is being ended is waited for, and followed by another. */
  async #inGroup<T>(
    name: string,
    use: (member: Membership) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      this.#assertOpen();
      const member = this.#membership(name);
      if (!member.left) return use(member);
      await member.left;
    }
  }

  #membership(name: string): Membership {
    const present = this.#memberships.get(name);
    if (present) return present;
    const { target, punctual, renewals } = this.options;
    if (!punctual) {
      throw new RedisExpiryError(
        'GROUP_REFUSED',
        `Group "${name}" cannot work with punctual: false: its events come from watching deadlines.`,
      );
    }
    const group = new ConsumerGroup(
      name,
      {
        ...this.options,
        ...this.#listenerOptions,
        punctual: {
          ...punctual,
          ...(renewals === 'auto' && { countedDatabase: target.database }),
        },
      },
      {
        topology: this.#topology,
        dispatcher: this.#dispatcher,
        places: this.#places,
        counters: this.#counters,
        lateness: this.#lateness,
        log: this.log,
      },
    );
    if (this.#isComplete) group.complete();
    const member = new Membership(
      group,
      this.#dispatcher,
      { ...target, log: this.log },
      () => this.#memberships.delete(name),
    );
    this.#memberships.set(name, member);
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
