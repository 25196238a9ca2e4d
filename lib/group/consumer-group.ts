import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { CommandClient } from '../connection/command-client.js';
import {
  isDenied,
  isLoginRefused,
  isReadOnly,
  missingCommand,
} from '../connection/server-error.js';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { Dispatcher } from '../dispatch/dispatcher.js';
import type { ExpiryHandler, RetryPolicy } from '../dispatch/expiry.js';
import type { LatenessWindow } from '../dispatch/lateness-window.js';
import type { NodeStatus } from '../listening/node-status.js';
import { slotOf } from '../topology/hash-slot.js';
import type { Interest } from '../listening/subscription-registry.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { within } from '../util/within.js';
import { Consumer } from './consumer.js';
import { DeadLetters } from './dead-letters.js';
import { type Backlog, type Entry, EventStream } from './event-stream.js';
import { type GroupKeys, groupKeys } from './group-keys.js';
import { GroupWatcher } from './group-watcher.js';
import type { WatcherOptions } from './leader-term.js';
import { LeaderLease } from './leader-lease.js';
import { DroppedLetters, type LetterLimits } from './letter-limits.js';
import { HandlerRegistry } from './handler-registry.js';
import { OwnHandlers } from './own-handlers.js';
import { RoutingReport } from './routing-report.js';
import { RunLedger } from './run-ledger.js';
import { checkServer } from './server-check.js';
import { WriteRefusals } from './write-refusals.js';

/** Ms that shutdown waits for Redis to take notice. */
const PATIENCE = 2_500;

export interface GroupOptions extends WatcherOptions {
  readonly retry: RetryPolicy;
  readonly leaseDuration: number;
  readonly deadLetters: LetterLimits;
}

/** What `status()` tells of one group, as of a few seconds ago. */
export interface GroupStatus extends Partial<Backlog> {
  readonly group: string;
  /** Whether this instance is the one that watches the deadlines. */
  readonly leads: boolean;
  /** The nodes that it listens to, while it leads. */
  readonly nodes: readonly NodeStatus[];
  /** What the server says while it refuses the group's writes: it lacks replicas, memory or disk space. */
  readonly lastError?: string;
}

/** What the parts of the engine that a group shares with others. */
export interface SharedParts {
  readonly topology: Topology;
  readonly dispatcher: Dispatcher;
  readonly counters: ExpiryCounters;
  readonly lateness: LatenessWindow;
  readonly log: Log;
}

/**
 * One consumer group in one instance: takes its share of the events, and stands by to watch the
 * deadlines.
 *
 * States: new → `start` → running → `stop` → `finish` → `close`. A start that failed may be tried
 * again, or be ended by the same three steps, which leave nothing of it.
 */
export class ConsumerGroup {
  readonly letters: DeadLetters;
  readonly #handlers = new OwnHandlers();
  readonly #interests = new Map<ExpiryHandler, Interest>();
  readonly #keys: GroupKeys;
  readonly #commands: CommandClient;
  readonly #reader: CommandClient;
  readonly #refusals: WriteRefusals;
  readonly #watcher: GroupWatcher;
  readonly #lease: LeaderLease;
  readonly #consumer: Consumer;
  readonly #registry: HandlerRegistry;
  #started: Promise<void> | undefined;
  /** A start was begun at some time: even if it failed, there may be something to end. */
  #begun = false;

  constructor(
    private readonly group: string,
    private readonly options: GroupOptions,
    private readonly shared: SharedParts,
  ) {
    const { topology, dispatcher, counters, log } = shared;
    const { target, ownPrefix, leaseDuration, retry, deadLetters } = options;
    const instance = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
    const keys = groupKeys(ownPrefix, group);
    this.#keys = keys;
    this.#commands = topology.openCommands(keys.index);
    this.#reader = topology.openCommands(keys.index);
    this.#refusals = new WriteRefusals(group, log);
    const commands = this.#refusals.watch(this.#commands);
    const stream = new EventStream(
      commands,
      this.#reader,
      keys,
      group,
      instance,
      deadLetters,
    );
    this.letters = new DeadLetters(commands, keys, group, target.keyPrefix);
    this.#watcher = new GroupWatcher(
      topology,
      this.#commands,
      this.#refusals,
      keys,
      options,
      counters,
      log,
    );
    this.#registry = new HandlerRegistry(
      commands,
      keys,
      instance,
      this.#handlers,
      this.#watcher,
      log,
    );
    this.#lease = new LeaderLease(commands, keys, instance, this.#watcher, log);
    this.#consumer = new Consumer({
      stream,
      leaseDuration,
      counters,
      log,
      leads: () => this.#lease.held,
      dropped: new DroppedLetters(group, deadLetters, log),
      context: {
        group,
        retry,
        dispatcher,
        ledger: new RunLedger(stream, group, log),
        lastTries: new Mutex(),
        database: target.database,
        prefixLength: Buffer.byteLength(target.keyPrefix),
        handlers: this.#handlers,
        registry: this.#registry,
        report: new RoutingReport(group, counters, log),
        onRun: (entry) => this.#count(entry),
      },
    });
  }

  get name(): string {
    return this.group;
  }

  get status(): GroupStatus {
    const { lastError } = this.#refusals;
    return {
      group: this.group,
      leads: this.#lease.held,
      nodes: this.#nodes,
      ...this.#consumer.backlog,
      ...(lastError !== undefined && { lastError }),
    };
  }

  /** The one server of a group holds all of its keys; of a Cluster's nodes it is not known which. */
  get #nodes(): NodeStatus[] {
    const { nodes } = this.#watcher;
    const tracked = this.#consumer.backlog?.tracked;
    if (this.options.target.isCluster || tracked === undefined) return nodes;
    return nodes.map((node) => ({ ...node, tracked }));
  }

  /** What keeps it from working, in words. */
  get reasons(): string[] {
    const lastError =
      this.#commands.lastError ?? this.shared.topology.lastError;
    return lastError === undefined
      ? this.#watcher.reasons
      : [lastError, ...this.#watcher.reasons];
  }

  /** Whether no handler belongs to it. */
  get isEmpty(): boolean {
    return this.#handlers.isEmpty;
  }

  /** All handlers that the application has from the start were added. */
  complete(): void {
    this.#registry.complete();
  }

  /** Adds a handler; resolves when whoever leads listens for its pattern. `served` tells whether it may. */
  async add(handler: ExpiryHandler): Promise<void> {
    // Events come by the stream: all that the watcher needs is the pattern.
    const interest: Interest = {
      pattern: handler.glob.pattern,
      onExpiry: () => undefined,
    };
    this.#handlers.add(handler);
    this.#interests.set(handler, interest);
    this.#watcher.registry.add(interest);
    // A start that begins after this tells of all patterns.
    const started = this.#started;
    await this.#watcher.refresh();
    if (!started) return;
    await started.catch(() => undefined);
    // What goes wrong here goes wrong at the start, which says so, or is tried again soon.
    await this.#registry.note().catch(() => undefined);
    await this.#registry.untilListened();
  }

  async remove(handler: ExpiryHandler): Promise<void> {
    const interest = this.#interests.get(handler);
    this.#handlers.remove(handler);
    this.#interests.delete(handler);
    if (interest) this.#watcher.registry.remove(interest);
    const withdrawn = this.#registry.note().catch(() => undefined);
    await this.#watcher.refresh();
    // Without a connection it is withdrawn by the next note, once there is one.
    if (this.#commands.connected) await withdrawn;
  }

  /**
   * Resolves when a handler's pattern is listened for. Where another instance watches, that one has
   * been told. Rejects with `SUBSCRIPTION_REFUSED` or `CLOSED`.
   */
  async served({ glob }: ExpiryHandler): Promise<void> {
    await this.#whileLeading(() => this.#watcher.served(glob.pattern));
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
  async ready(): Promise<void> {
    await this.#whileLeading(() => this.#watcher.ready());
  }

  /** Takes nothing more, and hands the watch over. Never rejects. */
  async stop(): Promise<void> {
    if (!this.#begun) return;
    const stopped = Promise.all([
      this.#lease.close(),
      this.#consumer.stop(),
      this.#registry.stop(),
    ]);
    // While Redis is away there is nobody to hand anything over to.
    await within(PATIENCE, stopped).catch((error: unknown) =>
      this.shared.log.debug(reasonOf(error)),
    );
  }

  /** Ends it for good where nothing of it is to be handled any more. Never rejects. */
  async end(): Promise<void> {
    // While Redis is away there is nobody to hand anything over to.
    if (this.#commands.connected) {
      await this.stop();
      await this.finish();
    }
    this.close();
  }

  /** After `stop` and once its handlers have ended: tells Redis. Never rejects. */
  async finish(): Promise<void> {
    if (this.#begun) await this.#consumer.finish();
  }

  close(): void {
    // Where nothing was drained, as after a failed start, these still run.
    this.#registry.close();
    void this.#lease.close();
    void this.#consumer.stop();
    void this.#consumer.finish();
    this.#watcher.onLost();
    this.#refusals.close();
    this.#commands.close();
    this.#reader.close();
  }

  async #start(): Promise<void> {
    await this.shared.topology.start();
    this.#checkKeys();
    try {
      await this.#work();
    } catch (error) {
      // It takes no events: nobody may count on its handlers.
      const withdrawn = this.#registry.withdraw().catch(() => undefined);
      if (this.#commands.connected) await within(PATIENCE, withdrawn);
      // Where they lead may be another server the next time.
      this.#commands.release();
      this.#reader.release();
      throw this.#explained(error);
    }
    await this.#whileLeading(() => this.#watcher.listening());
  }

  async #work(): Promise<void> {
    const { log } = this.shared;
    await checkServer(this.#commands, this.#keys, this.group, log);
    // First of all: what is taken by then may be for a handler of this instance only.
    await this.#registry.start();
    await this.#consumer.start();
    await this.#lease.start();
    await this.#registry.untilListened();
  }

  /** What the server says, in terms of what the user can do. */
  #explained(error: unknown): unknown {
    if (isLoginRefused(error)) {
      return new RedisExpiryError(
        'CONNECT_FAILED',
        `Redis refuses the connection: ${reasonOf(error)}`,
        { cause: error },
      );
    }
    if (!isDenied(error) && !isReadOnly(error)) return error;
    const missing = missingCommand(reasonOf(error));
    return new RedisExpiryError(
      'GROUP_REFUSED',
      missing === undefined
        ? `Group "${this.group}" may not work on this server: ${reasonOf(error)}. The README lists the permissions that a group needs.`
        : `Group "${this.group}" cannot work on this server: it has no command ${missing}, and a group needs it (${reasonOf(error)}).`,
      { cause: error },
    );
  }

  /** Scripts that use several keys need them on one node. */
  #checkKeys(): void {
    const { target } = this.options;
    const names = Object.values(this.#keys);
    if (!target.isCluster || new Set(names.map(slotOf)).size === 1) return;
    throw new RedisExpiryError(
      'GROUP_REFUSED',
      `Group "${this.group}" cannot work on a Cluster: its keys, as ${names[0]}, would live on different nodes. ` +
        'Let neither keyPrefix, namespace nor group hold braces',
    );
  }

  /** Waits for something of the watcher; in vain, and without an error, if the lease goes to another. */
  async #whileLeading(wait: () => Promise<void>): Promise<void> {
    while (this.#lease.held) {
      try {
        await wait();
        return;
      } catch (error) {
        if (this.#lease.held) throw error;
      }
    }
  }

  #count({ event, runs }: Entry): void {
    const { counters, lateness } = this.shared;
    if (event.tries > 0 || !runs.isEmpty) counters.retried++;
    else if (event.source === 'recovery') counters.recovered++;
    else if (event.deadline !== undefined)
      lateness.add(Math.max(0, event.detected - event.deadline));
  }
}
