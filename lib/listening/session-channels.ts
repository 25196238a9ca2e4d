import { missingCommand } from '../connection/server-error.js';
import { type ChannelFamily, FAMILIES } from './channels.js';
import type { ListenerSession } from './listener-session.js';
import type { MessageRouter } from './message-router.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/** What is listened for, as users wrote it. */
export interface Served {
  readonly served: ReadonlySet<string>;
  /** What the server refuses, with its words. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Keeps one session subscribed to what the registry wants, on one family of channels. `HearingSetup`
 * tells it which family; it dies with the session.
 *
 * States:
 * - *undecided* (at first): it is subscribed to both families, and the router hears what is on. Leaves
 *   by `choose`, or because the router heard a keyspace channel.
 * - *decided*: it is subscribed to one family, on which events count.
 * - *moving* (after `prepare`): it is subscribed to a second family beside it. Once the self-test hears
 *   that one, events count on it. Leaves by `leaveOther`, to the family on which events count then.
 */
export class SessionChannels {
  /** Whether events of keys that are given a new deadline are wanted, where the family leaves the choice. */
  renewals = true;
  /** The other family was tried because the ACL refuses something on this one. */
  hasTriedOther = false;
  /** The family to move to. */
  #next: ChannelFamily | undefined;
  /** What the server refused at the newest try, by channel. */
  #refusals: ReadonlyMap<string, string> = new Map();

  constructor(
    readonly session: ListenerSession,
    readonly router: MessageRouter,
    private readonly registry: SubscriptionRegistry,
  ) {}

  /** The family on which events count; undefined while that is undecided. */
  get family(): ChannelFamily | undefined {
    return this.router.family;
  }

  /** The families that it is subscribed to. */
  get families(): readonly ChannelFamily[] {
    if (!this.family) return FAMILIES;
    return [...new Set([this.family, this.#next ?? this.family])];
  }

  /** The channels to be subscribed to. */
  get channels(): string[] {
    return [...this.#wanted(this.families).keys()];
  }

  /** Whether it is subscribed to no channel that tells of keys that are given a new deadline. */
  get leavesOutRenewals(): boolean {
    return this.family === 'keyevent' && !this.renewals;
  }

  /** What is listened for now, and what the server refuses. */
  get served(): Served {
    const served = new Set<string>();
    const refused = new Map<string, string>();
    for (const [channel, texts] of this.#wanted(this.families))
      for (const text of texts) {
        const refusal = this.#refusals.get(channel);
        if (this.session.acknowledged.has(channel)) served.add(text);
        else if (refusal !== undefined) refused.set(text, refusal);
      }
    for (const text of served) refused.delete(text);
    return { served, refused };
  }

  /** Takes up what the registry wants now. Rejects when the connection is lost. */
  async refresh(): Promise<void> {
    this.#refusals = await this.session.sync(this.channels);
  }

  /**
   * Decides for the first of these families on which the server refuses nothing that it has a command
   * for; where there is none such, for the first. Without any family it becomes undecided.
   *
   * To be called only while nothing is taken for heard: what is announced in the meantime may be
   * missed. It is not heard twice, as what comes on the old family is ignored before the new one is
   * subscribed to. Where it is undecided, nothing is missed either.
   */
  async choose(families: readonly ChannelFamily[]): Promise<void> {
    for (const family of families) {
      await this.#listenOn(family);
      if (this.#isFit) return;
    }
    if (families.length !== 1) await this.#listenOn(families[0]);
  }

  /** Begins to move: subscribes to another family as well. Returns whether the server granted all of it. */
  async prepare(family: ChannelFamily): Promise<boolean> {
    this.#next = family;
    await this.refresh();
    const { acknowledged } = this.session;
    return [...this.#wanted([family]).keys()].every((c) => acknowledged.has(c));
  }

  /** The self-test's key was announced on this family. Must be called in the callback of that message. */
  heardTest(family: ChannelFamily): void {
    if (family === this.#next) this.router.listenOn(family);
  }

  /** Hears of renewals from now on, where they were left out. */
  async hearRenewals(): Promise<void> {
    this.renewals = true;
    await this.refresh();
  }

  /** Ends a move: leaves the family on which events do not count. */
  async leaveOther(): Promise<void> {
    this.#next = undefined;
    await this.refresh();
  }

  async #listenOn(family: ChannelFamily | undefined): Promise<void> {
    this.router.listenOn(family);
    await this.refresh();
  }

  /** Without renewals, what happens to keys must be heard by the channels of all other events. */
  get #isFit(): boolean {
    const { refused } = this.served;
    const refusals = this.leavesOutRenewals ? this.#refusals : refused;
    return ![...refusals.values()].some(isForbidden);
  }

  #wanted(families: readonly ChannelFamily[]): Map<string, string[]> {
    return this.registry.channels(families, this);
  }
}

/** What the server has no command for is no question of permissions. */
const isForbidden = (refusal: string): boolean =>
  missingCommand(refusal) === undefined;
