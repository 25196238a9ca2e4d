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
 * Keeps one session subscribed to what the registry wants, on one family of channels. `NodeSetup`
 * tells it which families come into question; it dies with the session.
 *
 * States:
 * - *undecided* (at first): it is subscribed to both families, and the router hears what is on.
 * - *decided* (by `choose`, or because the router heard a keyspace channel): it is subscribed to one
 *   family. That stays so for as long as the session is heard.
 */
export class SessionChannels {
  /** What the server refused at the newest try, by channel. */
  #refusals: ReadonlyMap<string, string> = new Map();

  constructor(
    readonly session: ListenerSession,
    readonly router: MessageRouter,
    private readonly registry: SubscriptionRegistry,
  ) {}

  /** The family that it listens on; undefined while that is undecided. */
  get family(): ChannelFamily | undefined {
    return this.router.family;
  }

  /** The families that it is subscribed to. */
  get families(): readonly ChannelFamily[] {
    return this.family ? [this.family] : FAMILIES;
  }

  /** The channels to be subscribed to. */
  get channels(): string[] {
    return [...this.registry.channels(this.families).keys()];
  }

  /** What is listened for now, and what the server refuses. */
  get served(): Served {
    const served = new Set<string>();
    const refused = new Map<string, string>();
    for (const [channel, texts] of this.registry.channels(this.families))
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
      if (![...this.served.refused.values()].some(isForbidden)) return;
    }
    if (families.length !== 1) await this.#listenOn(families[0]);
  }

  async #listenOn(family: ChannelFamily | undefined): Promise<void> {
    this.router.listenOn(family);
    await this.refresh();
  }
}

/** What the server has no command for is no question of permissions. */
const isForbidden = (refusal: string): boolean =>
  missingCommand(refusal) === undefined;
