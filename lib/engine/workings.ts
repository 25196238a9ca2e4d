import { newCounters } from '../dispatch/counters.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import { GraceWaits } from '../dispatch/grace-waits.js';
import { LatenessWindow } from '../dispatch/lateness-window.js';
import { Places } from '../dispatch/places.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import { ArmedKeys } from '../group/armed-keys.js';
import { ClusterPlaces, OnePlace } from '../group/arming-places.js';
import { ConsumerGroup } from '../group/consumer-group.js';
import { GapTotals } from '../listening/gap-totals.js';
import type { ListenerOptions } from '../listening/node-status.js';
import { ClusterTopology } from '../topology/cluster-topology.js';
import { StandaloneTopology } from '../topology/standalone-topology.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { Broadcast } from './broadcast.js';
import { Membership } from './membership.js';
import type { AssignedHandler } from './expiry-engine.js';
import type { LocatedOptions } from './options.js';
import type { RedisExpiryStatus } from './status.js';

/**
 * What an engine works with: one topology and one dispatcher, broadcast, and for each group a membership, or the
 * means to write keys for it, or both. The
 * engine makes it when it is known where Redis is, and sees to it that it starts, drains and closes once.
 *
 * States:
 * - *idle* (at first): nothing is connected. Broadcast, or a membership, connects what its first handler needs.
 * - *complete* (after `start`): the application's own handlers were all added.
 * - *drained* (after `drain`): nothing is listened to or taken any more.
 * - *closed* (after `close`): every connection is closed.
 */
export class Workings {
  readonly broadcast: Broadcast;
  readonly #counters = newCounters();
  readonly #lateness = new LatenessWindow();
  readonly #gaps = new GapTotals();
  readonly #topology: Topology;
  readonly #dispatcher: Dispatcher;
  readonly #graceWaits: GraceWaits;
  readonly #places: Places;
  readonly #memberships = new Map<string, Membership>();
  readonly #keys = new Map<string, ArmedKeys>();
  #isComplete = false;
  #isEnding = false;
  #isClosed = false;

  constructor(
    private readonly options: LocatedOptions,
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
    this.#graceWaits = new GraceWaits(
      ...([this.#dispatcher, options.queueLimit] as const),
      ...([this.#counters, log] as const),
    );
    this.#places = new Places(this.#dispatcher);
    this.broadcast = new Broadcast(options, {
      topology: this.#topology,
      dispatcher: this.#dispatcher,
      graceWaits: this.#graceWaits,
      lateness: this.#lateness,
      counters: this.#counters,
      listenerOptions: this.#listenerOptions,
      log,
    });
  }

  /** Runs the application's own handlers. See `RedisExpiryEngine.start`. */
  async start(handlers: readonly AssignedHandler[]): Promise<void> {
    const broadcast: ExpiryHandler[] = [];
    const grouped = new Map<string, ExpiryHandler[]>();
    for (const { group, ...handler } of handlers)
      if (group === undefined) broadcast.push(handler);
      else grouped.set(group, [...(grouped.get(group) ?? []), handler]);
    const starts = [...grouped].map(([name, own]) =>
      this.inGroup(name, (member) => member.keep(own)),
    );
    this.#isComplete = true;
    for (const { group } of this.#memberships.values()) group.complete();
    // Broadcast starts without any handler, too, so that the start shows whether Redis can be reached.
    const isIdle = grouped.size === 0 && this.options.enabled;
    if (broadcast.length > 0 || isIdle)
      starts.push(this.broadcast.keep(broadcast));
    await Promise.all(starts);
  }

  /** See `RedisExpiryEngine.ready`. */
  async ready(): Promise<void> {
    const members = [...this.#memberships.values()];
    const isIdle = members.length === 0 && this.options.enabled;
    if (this.broadcast.begun || isIdle) await this.broadcast.ready();
    for (const member of members) await member.ready();
  }

  /** Uses this instance's membership in a group. One that is being ended is waited for, and followed by another. */
  async inGroup<T>(
    name: string,
    use: (member: Membership) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      if (this.#isEnding) throw closedError();
      const member = this.#membership(name);
      if (!member.left) return use(member);
      await member.left;
    }
  }

  /** Keys that are written for a group, whether this instance belongs to it or not. */
  keys(group: string): ArmedKeys {
    const present = this.#keys.get(group);
    if (present) return present;
    if (this.#isClosed) throw closedError();
    const { target } = this.options;
    const { ownPrefix } = this.#listenerOptions;
    const parts = { group, ownPrefix, topology: this.#topology, log: this.log };
    const keys = new ArmedKeys(
      target.isCluster ? new ClusterPlaces(parts) : new OnePlace(parts),
      target.keyPrefix,
      target.connectTimeout,
    );
    this.#keys.set(group, keys);
    return keys;
  }

  /** A group that some handler of this instance belongs to. */
  group(name: string): ConsumerGroup | undefined {
    return this.#memberships.get(name)?.group;
  }

  status(): RedisExpiryStatus {
    return {
      nodes: this.broadcast.nodes,
      groups: [...this.#memberships.values()].map(({ group }) => group.status),
      counters: { ...this.#counters },
      lateness: this.#lateness.status,
      gaps: this.#gaps.status,
      queued: this.#dispatcher.queued,
      running: this.#dispatcher.running,
      inGrace: this.#graceWaits.size,
      longRunning: this.#dispatcher.longRunning,
    };
  }

  /** See `RedisExpiryEngine.drain`. */
  async drain(): Promise<void> {
    this.#isEnding = true;
    this.broadcast.close();
    const groups = [...this.#memberships.values()].map(({ group }) => group);
    await Promise.all(groups.map((group) => group.stop()));
    await this.#dispatcher.drain(this.options.shutdownTimeout);
    await Promise.all(groups.map((group) => group.finish()));
  }

  close(): void {
    this.#isEnding = true;
    this.#isClosed = true;
    this.broadcast.close();
    for (const member of this.#memberships.values()) member.close();
    for (const keys of this.#keys.values()) keys.close();
    this.#topology.close();
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
    return { ...target, notifications, ownPrefix, gaps: this.#gaps };
  }
}

const closedError = (): RedisExpiryError =>
  new RedisExpiryError('CLOSED', 'The module was shut down.');
