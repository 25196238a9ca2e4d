import { missingCommand } from '../connection/server-error.js';
import {
  RedisExpiryError,
  reasonOf,
  subscriptionRefused,
} from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { Pause } from '../util/pause.js';
import { Mutex } from '../util/mutex.js';
import { FlagKeeper } from './flag-keeper.js';
import { GapLog } from './gap.js';
import { ListenerSession } from './listener-session.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import { NodeSetup, type SetupResult } from './node-setup.js';
import type {
  ListenerOptions,
  ListenerState,
  NodeStatus,
  SetupReport,
} from './node-status.js';
import type { RedisNode } from '../topology/redis-node.js';
import { ReplacedError, SilencedError } from './server-identity.js';
import { Signal } from '../util/signal.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/** Ms between two looks at what is refused or deaf, and looks between two checks of the flags. */
const LOOK = 5_000;
const LOOKS_PER_CHECK = 3;

/**
 * Keeps one node listened to. Its states are `ListenerState`'s: connecting → subscribing →
 * listening, refused or deaf, and back to connecting whenever the session is lost, until `close`.
 *
 * Guarantees: it never gives up; every time without listening is recorded as a gap, from the last
 * proof of listening to the acknowledgement; no rejection is left unhandled.
 *
 * Left to others: which subscriptions are wanted (SubscriptionRegistry), how one connection is set
 * up (NodeSetup), one connection's life (ListenerSession).
 */
export class NodeListener {
  readonly #gaps: GapLog;
  readonly #setup: NodeSetup;
  readonly #changed = new Signal();
  #state: ListenerState = 'connecting';
  #session: ListenerSession | undefined;
  #served: ReadonlySet<string> = new Set();
  #refused: ReadonlyMap<string, string> = new Map();
  /** Of the patterns that are wanted now, those that were listened for at some time. */
  readonly #everServed = new Set<string>();
  #report: SetupReport | undefined;
  #lastError: string | undefined;
  /** What is done with the present session. */
  #mutex = new Mutex();
  readonly #pause = new Pause();
  #refreshing: Promise<void> | undefined;
  #looks = 0;
  /** The run of the server that was listened to last, as far as it told. */
  #runId: string | undefined;
  /** The session ends because another server took the place of the one that was listened to. */
  #replaced = false;

  constructor(
    private readonly node: RedisNode,
    registry: SubscriptionRegistry,
    private readonly options: ListenerOptions,
    log: Log,
    readonly deadlines?: DeadlineKeeper,
    /** It may have served keys unheard since then, in epoch ms. */
    since?: number,
    /** Listening was lost: somebody may know of another server. */
    private readonly onLost: () => void = () => undefined,
  ) {
    this.#gaps = new GapLog(node.address, log);
    if (since !== undefined)
      this.#gaps.begin(since, 'it was not known to be a primary');
    const keeper = new FlagKeeper(
      options.notifications,
      node.commands,
      node.address,
      log,
    );
    this.#setup = new NodeSetup(
      node,
      registry,
      keeper,
      options,
      log,
      deadlines,
    );
  }

  get status(): NodeStatus {
    const { refusal } = this.node.commands;
    const listens = this.#state === 'listening';
    const lastError = this.#lastError ?? refusal;
    return {
      address: this.node.address,
      state: refusal && listens ? 'refused' : this.#state,
      patterns: [...this.#served],
      refused: [...this.#refused].map(([pattern, reason]) => ({
        pattern,
        reason,
      })),
      gaps: this.#gaps.count,
      ...this.#report,
      ...this.deadlines?.status,
      ...(this.#gaps.last && { lastGap: this.#gaps.last }),
      ...(lastError !== undefined && { lastError }),
    };
  }

  /** Epoch ms since when it is not listened to; undefined while it is. */
  get lostSince(): number | undefined {
    return this.#gaps.open ? this.#gaps.last?.from.getTime() : undefined;
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
    return this.#changed.next();
  }

  /**
   * Takes up what the registry now wants: at once if there is a session, else with the next one.
   * Never rejects; several calls in one turn share the work.
   */
  async refresh(): Promise<void> {
    const session = this.#session;
    if (!session?.connected) return;
    this.#refreshing ??= Promise.resolve().then(() => {
      this.#refreshing = undefined;
      return this.#takeUp(session, false);
    });
    // A session that is lost has nothing to take up: the next one does.
    await session.guard(this.#refreshing).catch(() => undefined);
  }

  /** Resolves once all that Redis announced before now has been heard. Rejects when it cannot be known. */
  async barrier(): Promise<void> {
    const session = this.#session;
    if (!session?.connected)
      throw new Error(`${this.node.address} is not listened to`);
    await session.ping();
    try {
      await this.#setup.assertAnnouncing(session);
    } catch (error) {
      this.#replaced ||= error instanceof ReplacedError;
      if (this.#replaced) session.close(reasonOf(error));
      // The gap begins at the last look at which all was well: not to be left to the next look.
      else if (error instanceof SilencedError)
        void this.#takeUp(session, false);
      throw error;
    }
  }

  /**
   * Resolves once Redis acknowledged the subscription, or has no command to subscribe and the listener
   * does without. Rejects with `SUBSCRIPTION_REFUSED` or `CLOSED`.
   */
  async whenServed(pattern: string): Promise<void> {
    while (!this.#served.has(pattern)) {
      const refusal = this.#refused.get(pattern);
      if (refusal !== undefined) {
        const missing = missingCommand(refusal);
        if (missing && this.options.doesWithoutHearing) return;
        throw subscriptionRefused(this.node.address, pattern, refusal, missing);
      }
      if (this.#state === 'closed')
        throw new RedisExpiryError('CLOSED', 'The module was shut down.');
      await this.#changed.next();
    }
  }

  /** Stops listening and closes the connection. */
  close(): void {
    this.#served = new Set();
    this.#enter('closed');
    this.deadlines?.close();
    this.#session?.close();
    this.#pause.end();
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#isClosed();) {
      const session = this.#newSession();
      let end: string;
      let proof: number | undefined;
      try {
        await this.#within(session, this.#establish(session));
        failures = 0;
        const looking = setInterval(() => this.#look(session), LOOK).unref();
        end = await session.lost;
        clearInterval(looking);
        proof = session.lastProof;
      } catch (error) {
        end = reasonOf(error);
      }
      session.close();
      if (this.#isClosed()) return;
      this.#lose(end, proof);
      await this.#pause.wait(this.options.retryDelay(++failures));
    }
  }

  #newSession(): ListenerSession {
    this.#enter('connecting');
    const { route } = this.#setup;
    route.restart();
    this.#session = new ListenerSession(
      this.node.openListener(),
      (subscribed, channel, message) =>
        route.take(subscribed, channel, message),
      (keys) => route.takeChanged(keys),
    );
    this.#mutex = new Mutex();
    return this.#session;
  }

  async #establish(session: ListenerSession): Promise<void> {
    await session.connect();
    if (this.#isClosed()) return;
    const { runId = this.#runId } = session;
    if (this.#runId !== undefined && runId !== this.#runId)
      this.deadlines?.replaced?.();
    this.#runId = runId;
    this.node.commands.wake();
    this.#enter('subscribing');
    await this.#enqueue(session, true);
  }

  #look(session: ListenerSession): void {
    if (++this.#looks % LOOKS_PER_CHECK === 0 || this.#state !== 'listening')
      void this.#takeUp(session, this.#state === 'deaf');
  }

  /** As `#enqueue`, for a session in use: what fails there ends it, and the next one begins anew. */
  #takeUp(session: ListenerSession, test: boolean): Promise<void> {
    return this.#enqueue(session, test).catch((error: unknown) => {
      this.#replaced ||= error instanceof ReplacedError;
      session.close(reasonOf(error));
    });
  }

  /** Brings a session to what is wanted, one such work after the other. */
  #enqueue(session: ListenerSession, test: boolean): Promise<void> {
    return this.#mutex.run(async () => {
      if (session !== this.#session) return;
      const since = session.lastProof ?? Date.now();
      const result = await this.#setup.apply(session, test);
      if (session !== this.#session || this.#isClosed()) return;
      this.#served = result.served;
      this.#refused = result.refused;
      this.#report = result.report;
      this.#lastError = undefined;
      this.#judge(result, since);
    });
  }

  /** The patterns whose keys are looked at: also those that cannot be heard, where the listener does without. */
  #lookedAfter({ served, refused }: SetupResult): ReadonlySet<string> {
    if (!this.options.doesWithoutHearing) return served;
    const unheard = [...refused].filter(([, reason]) => missingCommand(reason));
    return new Set([...served, ...unheard.map(([pattern]) => pattern)]);
  }

  #judge(result: SetupResult, since: number): void {
    if (!result.announced) {
      const from = Math.min(since, this.#setup.lastGood ?? since);
      this.#gaps.begin(from, 'the server does not announce expiries');
      const ago = Date.now() - from;
      // What a replica tells of its keys is not what is true of them.
      if (result.report.role === 'replica') this.deadlines?.lost(ago);
      else this.deadlines?.silent(ago, this.#lookedAfter(result));
      this.#enter('deaf');
      return;
    }
    if (result.missedSince !== undefined) {
      this.#gaps.begin(result.missedSince, 'notification flags were missing');
      this.deadlines?.lost(Date.now() - result.missedSince);
    }
    for (const pattern of result.served) this.#everServed.add(pattern);
    for (const pattern of this.#everServed)
      if (!result.served.has(pattern) && !result.refused.has(pattern))
        this.#everServed.delete(pattern);
    if ([...result.refused.keys()].some((p) => this.#everServed.has(p))) {
      this.#gaps.begin(since, 'the ACL refuses what it granted before');
      this.deadlines?.lost(Date.now() - since);
      this.#enter('refused');
      return;
    }
    this.#gaps.end();
    this.deadlines?.listening(result.proven, result.served);
    this.#enter(result.refused.size > 0 ? 'refused' : 'listening');
  }

  #lose(reason: string, proven: number | undefined): void {
    // What another server announced in its place, nobody knows since when, was not heard.
    const { lastGood = Infinity } = this.#setup;
    const good = this.#replaced
      ? Math.min(lastGood, proven ?? Infinity)
      : proven;
    this.#replaced = false;
    const proof = proven && good! - this.node.noticedAfter;
    this.deadlines?.lost(proof === undefined ? 0 : Date.now() - proof);
    this.#session = undefined;
    this.#served = new Set();
    this.#refused = new Map();
    this.#lastError = reason;
    if (proof !== undefined) this.#gaps.begin(proof, reason);
    this.#enter('connecting');
    this.onLost();
  }

  #enter(state: ListenerState): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    this.#changed.fire();
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  async #within(session: ListenerSession, work: Promise<void>): Promise<void> {
    const { connectTimeout } = this.options;
    const timer = setTimeout(
      () => session.close(`not listening within ${connectTimeout} ms`),
      connectTimeout,
    );
    try {
      await session.guard(work);
    } finally {
      clearTimeout(timer);
    }
  }
}
