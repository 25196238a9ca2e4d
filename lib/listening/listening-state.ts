import type { CommandClient } from '../connection/command-client.js';
import { missingCommand } from '../connection/server-error.js';
import {
  RedisExpiryError,
  subscriptionRefused,
} from '../errors/redis-expiry.error.js';
import { Signal } from '../util/signal.js';
import type { SetupResult } from './node-setup.js';
import type { ListenerState, NodeStatus, SetupReport } from './node-status.js';

/**
 * What is known of how one node is listened to. Its `NodeListener` writes it, and whoever waits for a
 * subscription reads it. `ListenerState` says what the states are; `closed` is the last one.
 */
export class ListeningState {
  readonly #changed = new Signal();
  #state: ListenerState = 'connecting';
  #served: ReadonlySet<string> = new Set();
  #refused: ReadonlyMap<string, string> = new Map();
  /** Of the patterns that are wanted now, those that were listened for at some time. */
  readonly #everServed = new Set<string>();
  #report: SetupReport | undefined;
  #lastError: string | undefined;
  /** Since when it is, or is not, `listening`. */
  #since = new Date();

  constructor(
    private readonly address: string,
    /** Whether whoever listens goes on where the server has no command to subscribe. */
    private readonly doesWithoutHearing = false,
  ) {}

  get is(): ListenerState {
    return this.#state;
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** @param commands the connection for commands may be refused while all is heard */
  status({
    refusal,
    refusedSince,
  }: Pick<CommandClient, 'refusal' | 'refusedSince'>): Omit<
    NodeStatus,
    'gaps'
  > &
    Pick<NodeStatus, 'state'> {
    const lastError = this.#lastError ?? refusal;
    const isRefused = refusal !== undefined && this.#state === 'listening';
    return {
      address: this.address,
      state: isRefused ? 'refused' : this.#state,
      since: (isRefused && refusedSince) || this.#since,
      patterns: [...this.#served],
      refused: [...this.#refused].map(([pattern, reason]) => ({
        pattern,
        reason,
      })),
      ...this.#report,
      ...(lastError !== undefined && { lastError }),
    };
  }

  /** Resolves at the next change of what `status` says. */
  changed(): Promise<void> {
    return this.#changed.next();
  }

  enter(state: ListenerState): void {
    if (this.isClosed) return;
    if ((state === 'listening') !== (this.#state === 'listening'))
      this.#since = new Date();
    this.#state = state;
    this.#changed.fire();
  }

  /** A look at the server found this. */
  found({ served, refused, report }: SetupResult): void {
    this.#served = served;
    this.#refused = refused;
    this.#report = report;
    this.#lastError = undefined;
  }

  /** Nothing is listened to any more, for this reason. */
  lost(reason: string): void {
    this.#served = new Set();
    this.#refused = new Map();
    this.#lastError = reason;
    this.enter('connecting');
  }

  close(): void {
    this.#served = new Set();
    this.enter('closed');
  }

  /** Notes what is listened for. Returns whether the server refuses something that it granted before. */
  noteRevoked(): boolean {
    for (const pattern of this.#served) this.#everServed.add(pattern);
    for (const pattern of this.#everServed)
      if (!this.#served.has(pattern) && !this.#refused.has(pattern))
        this.#everServed.delete(pattern);
    return [...this.#refused.keys()].some((p) => this.#everServed.has(p));
  }

  /** The patterns whose keys are looked at: also those that cannot be heard, where the listener does without. */
  get lookedAfter(): ReadonlySet<string> {
    if (!this.doesWithoutHearing) return this.#served;
    const unheard = [...this.#refused].filter(([, why]) => missingCommand(why));
    return new Set([...this.#served, ...unheard.map(([pattern]) => pattern)]);
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
        if (missing && this.doesWithoutHearing) return;
        throw subscriptionRefused(this.address, pattern, refusal, missing);
      }
      if (this.isClosed)
        throw new RedisExpiryError('CLOSED', 'The module was shut down.');
      await this.#changed.next();
    }
  }
}
