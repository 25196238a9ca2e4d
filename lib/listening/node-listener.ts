import type { Redis } from 'ioredis';
import { ConnectionSilent } from '../connection/watchdog.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { Pause } from '../util/pause.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import { FlagKeeper } from './flag-keeper.js';
import { ListeningGaps } from './gap.js';
import { ListenerSession } from './listener-session.js';
import { ListeningState } from './listening-state.js';
import { MessageRouter } from './message-router.js';
import { FamilyLostError, type SetupScope } from './hearing-setup.js';
import { NodeSetup, type SetupResult } from './node-setup.js';
import type { ListenerOptions, NodeStatus } from './node-status.js';
import { ReplacedError, SilencedError } from './server-identity.js';
import { SessionChannels } from './session-channels.js';
import { SessionLooks } from './session-looks.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/**
 * Keeps one node listened to; `KeyspaceListener` has one for each node. Its states are
 * `ListenerState`'s: connecting → subscribing → listening, refused or deaf, and back to connecting
 * whenever the session is lost, until `close`.
 *
 * Guarantees: it never gives up; every time without listening is recorded as a gap, from the last
 * proof of listening to the acknowledgement; no rejection is left unhandled.
 *
 * Left to others: which subscriptions are wanted (SubscriptionRegistry), how one connection is set
 * up (NodeSetup), one connection's life (ListenerSession), what is told of the node (ListeningState).
 */
export class NodeListener {
  readonly #gaps: ListeningGaps;
  readonly #setup: NodeSetup;
  readonly #state: ListeningState;
  /** Of the present session. */
  #channels: SessionChannels | undefined;
  /** What is done with the present session. */
  #mutex = new Mutex();
  readonly #pause = new Pause();
  #refreshing: Promise<void> | undefined;
  /** The run of the server that was listened to last, as far as it told. */
  #runId: string | undefined;
  /** The session ends, and since the last look at which all was well it may have heard nothing, or another server. */
  #doubtful = false;

  constructor(
    private readonly node: RedisNode,
    private readonly registry: SubscriptionRegistry,
    private readonly options: ListenerOptions,
    log: Log,
    readonly deadlines?: DeadlineKeeper,
    /** It may have served keys unheard since then, in epoch ms. */
    since?: number,
    /** Listening was lost: somebody may know of another server. */
    private readonly onLost: () => void = () => undefined,
  ) {
    this.#gaps = new ListeningGaps(
      ...([node.address, deadlines, log, options.gaps] as const),
    );
    if (since !== undefined)
      this.#gaps.begin(since, 'it was not known to be a primary');
    const { commands, address } = node;
    const keeper = new FlagKeeper(
      ...([options.notifications, commands, address, log] as const),
    );
    this.#setup = new NodeSetup(
      ...([node, registry, keeper, options, deadlines, log] as const),
    );
    this.#state = new ListeningState(address, options.doesWithoutHearing);
  }

  get status(): NodeStatus {
    return {
      ...this.#state.status(this.node.commands),
      gaps: this.#gaps.count,
      ...this.deadlines?.status,
      ...(this.#gaps.last && { lastGap: this.#gaps.last }),
    };
  }

  /** Epoch ms since when it is not listened to; undefined while it is. */
  get lostSince(): number | undefined {
    return this.#gaps.lostSince;
  }

  /** Tries to connect now, where it waits before its next try: something changed. */
  retry(): void {
    this.#pause.end();
  }

  /** Begins to listen, and goes on until `close`. */
  start(): void {
    void this.#run();
  }

  /** Resolves at the next change of what `status` says. */
  changed(): Promise<void> {
    return this.#state.changed();
  }

  /** See `ListeningState.whenServed`. */
  whenServed(pattern: string): Promise<void> {
    return this.#state.whenServed(pattern);
  }

  /**
   * Takes up what the registry now wants: at once if there is a session, else with the next one.
   * Never rejects; several calls in one turn share the work.
   */
  async refresh(): Promise<void> {
    const channels = this.#channels;
    if (!channels?.session.connected) return;
    this.#refreshing ??= Promise.resolve().then(() => {
      this.#refreshing = undefined;
      return this.#takeUp(channels, 'changes');
    });
    // A session that is lost has nothing to take up: the next one does.
    await channels.session.guard(this.#refreshing).catch(() => undefined);
  }

  /** Resolves once all that Redis announced before now has been heard. Rejects when it cannot be known. */
  async barrier(): Promise<void> {
    const channels = this.#channels;
    if (!channels?.session.connected)
      throw new Error(`${this.node.address} is not listened to`);
    await channels.session.ping();
    try {
      // After a look under way: it may have switched the flags on again, and opens the gap only at its end.
      await channels.session.guard(
        this.#mutex.run(() => this.#setup.assertAnnouncing(channels)),
      );
    } catch (error) {
      if (error instanceof ReplacedError) this.#abandon(channels, error);
      // The gap begins at the last look at which all was well: not to be left to the next look.
      else if (error instanceof SilencedError)
        void this.#takeUp(channels, 'changes');
      throw error;
    }
  }

  /** Resolves when the deadlines of the node's keys are known, and what follows from them for listening was done. */
  async ready(): Promise<void> {
    await this.deadlines?.ready();
    const channels = this.#channels;
    if (channels && this.#setup.isOutdated(channels)) await this.refresh();
  }

  /** Stops listening and closes the connection. */
  close(): void {
    this.#state.close();
    this.#gaps.close();
    this.deadlines?.close();
    this.#channels?.session.close();
    this.#pause.end();
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#state.isClosed;) {
      let session: ListenerSession | undefined;
      let end: string;
      let proof: number | undefined;
      this.#state.enter('connecting');
      try {
        const client = await this.node.openListener();
        if (this.#state.isClosed) return;
        const channels = this.#newSession(client);
        session = channels.session;
        await session.within(
          this.options.connectTimeout,
          this.#establish(channels),
        );
        failures = 0;
        const looks = this.#looksOf(channels);
        looks.begin();
        end = await session.lost;
        looks.end();
        proof = session.lastProof;
      } catch (error) {
        end = reasonOf(error);
      }
      session?.close();
      if (this.#state.isClosed) return;
      this.#lose(end, proof);
      await this.#pause.wait(this.options.retryDelay(++failures));
    }
  }

  #newSession(client: Redis): SessionChannels {
    const router = new MessageRouter(this.registry, this.deadlines);
    const session = new ListenerSession(
      client,
      (subscribed, channel, message) =>
        router.take(subscribed, channel, message),
      (keys) => router.takeChanged(keys),
    );
    this.#mutex = new Mutex();
    this.#channels = new SessionChannels(session, router, this.registry);
    return this.#channels;
  }

  async #establish(channels: SessionChannels): Promise<void> {
    const { session } = channels;
    await session.connect();
    if (this.#state.isClosed) return;
    const { runId = this.#runId } = session;
    if (this.#runId !== undefined && runId !== this.#runId)
      this.deadlines?.replaced?.();
    this.#runId = runId;
    this.node.commands.wake();
    this.#state.enter('subscribing');
    await this.#enqueue(channels, 'everything');
  }

  #looksOf(channels: SessionChannels): SessionLooks {
    const isDeaf = (): boolean => this.#state.is === 'deaf';
    return new SessionLooks(
      () => this.#state.is === 'listening' && !this.#setup.isOutdated(channels),
      () => this.#takeUp(channels, isDeaf() ? 'everything' : 'changes'),
    );
  }

  /**
   * As `#enqueue`, for a session in use: what fails there ends it, and the next one begins anew. That
   * the connection for commands fell silent says nothing of the session: it is done again on the next one.
   */
  async #takeUp(channels: SessionChannels, scope: SetupScope): Promise<void> {
    const { session } = channels;
    for (;;) {
      try {
        await this.#enqueue(channels, scope);
        return;
      } catch (error) {
        if (error instanceof ConnectionSilent && session.connected) continue;
        this.#abandon(channels, error);
        return;
      }
    }
  }

  /** Ends a session in use because of what a look at its server found. */
  #abandon({ session }: SessionChannels, error: unknown): void {
    this.#doubtful ||=
      error instanceof ReplacedError || error instanceof FamilyLostError;
    session.close(reasonOf(error));
  }

  /** Brings a session to what is wanted, one such work after the other. */
  #enqueue(channels: SessionChannels, scope: SetupScope): Promise<void> {
    return this.#mutex.run(async () => {
      if (channels !== this.#channels) return;
      const since = channels.session.lastProof ?? Date.now();
      const result = await this.#setup.apply(channels, scope);
      if (channels !== this.#channels || this.#state.isClosed) return;
      this.#state.found(result);
      this.#conclude(result, since);
    });
  }

  /** Enters the state that a look at the server gives reason for, and opens or closes the gap. */
  #conclude(result: SetupResult, since: number): void {
    if (!result.announced) {
      const from = Math.min(since, this.#setup.lastGood ?? since);
      const reason = 'the server does not announce expiries';
      // What a replica tells of its keys is not what is true of them.
      if (result.report.role === 'replica') this.#gaps.lost(from, reason);
      else {
        this.#gaps.begin(from, reason);
        this.deadlines?.silent(Date.now() - from, this.#state.lookedAfter);
      }
      this.#state.enter('deaf');
      return;
    }
    if (result.missedSince !== undefined)
      this.#gaps.lost(result.missedSince, 'notification flags were missing');
    if (this.#state.noteRevoked()) {
      this.#gaps.lost(since, 'the ACL refuses what it granted before');
      this.#state.enter('refused');
      return;
    }
    this.#gaps.end();
    this.deadlines?.listening(result.proven, result.served);
    this.#state.enter(result.refused.size > 0 ? 'refused' : 'listening');
  }

  #lose(reason: string, proven: number | undefined): void {
    // Nobody knows since when what the node announced was not heard.
    const { lastGood = Infinity } = this.#setup;
    const good = this.#doubtful
      ? Math.min(lastGood, proven ?? Infinity)
      : proven;
    this.#doubtful = false;
    const proof = proven && good! - this.node.noticedAfter;
    this.#gaps.lost(proof, reason);
    this.#channels = undefined;
    this.#state.lost(reason);
    this.onLost();
  }
}
