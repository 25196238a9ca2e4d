import { missingCommand } from '../connection/server-error.js';
import { alternative, chooseChannels } from './channel-choice.js';
import type { ChannelKind } from './channels.js';
import type { ExpiryRoute } from './expiry-route.js';
import type { ListenerSession } from './listener-session.js';
import type { NeededFlags, NotificationFlags } from './notification-flags.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/** What is listened for, as users wrote it. */
export interface Served {
  readonly served: ReadonlySet<string>;
  /** What the server refuses, with its words. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Keeps one node's session subscribed to what the registry wants, on the family of channels that
 * the server has and the ACL grants.
 */
export class ChannelKeeper {
  /** What the ACL leaves to choose, once it refused a first choice. */
  #family: ReadonlySet<ChannelKind> | undefined;

  constructor(
    private readonly registry: SubscriptionRegistry,
    private readonly route: ExpiryRoute,
    /** A family that is off may be switched on. */
    private readonly canSwitch: boolean,
  ) {}

  /** Begins anew: what was refused is tried again. */
  restart(): void {
    this.#family = undefined;
  }

  /** What is needed; where the ACL grants channels of one family only, that family by name. */
  needed(): NeededFlags {
    return withFamily(this.registry.neededFlags(), this.#family);
  }

  /** The same, and the family that is listened on by name. */
  inUse(needed: NeededFlags): NeededFlags {
    return withFamily(needed, this.route.kinds);
  }

  /** What the flags will be once they were completed. */
  expected(
    flags: NotificationFlags | undefined,
    needed: NeededFlags,
  ): ReadonlySet<ChannelKind> {
    if (!flags || !this.canSwitch) return this.#family ?? chooseChannels(flags);
    const complete = flags.plus(flags.missing(needed));
    return this.#family ?? chooseChannels(complete);
  }

  /** Subscribes on the channels of some families; on the other one where the ACL refuses the first. */
  async subscribe(
    session: ListenerSession,
    kinds: ReadonlySet<ChannelKind>,
    flags?: NotificationFlags,
  ): Promise<ReadonlyMap<string, string>> {
    const refused = await this.#listenOn(session, kinds);
    const { refused: unserved } = this.servedBy(session, refused);
    // What the server has no command for is no question of permissions.
    if ([...unserved.values()].every(missingCommand)) return refused;
    // The other family, where it is on or can be switched on; tried once, until listening begins anew.
    const other = alternative(kinds, this.canSwitch ? undefined : flags);
    if (!other || this.#family) return refused;
    const second = await this.#listenOn(session, other);
    const served = this.servedBy(session, second).refused.size === 0;
    this.#family = served ? other : kinds;
    return served ? second : this.#listenOn(session, kinds);
  }

  async #listenOn(
    session: ListenerSession,
    kinds: ReadonlySet<ChannelKind>,
  ): Promise<ReadonlyMap<string, string>> {
    // While the choice changes it listens on both, so that nothing falls between.
    this.route.kinds = new Set([...this.route.kinds, ...kinds]);
    await session.sync(this.registry.channels(this.route.kinds).keys());
    this.route.kinds = kinds;
    return session.sync(this.registry.channels(kinds).keys());
  }

  /** What is listened for now, and what the ACL refuses, as users wrote it. */
  servedBy(
    session: ListenerSession,
    refusals: ReadonlyMap<string, string>,
  ): Served {
    const served = new Set<string>();
    const refused = new Map<string, string>();
    for (const [channel, texts] of this.registry.channels(this.route.kinds))
      for (const text of texts)
        if (session.acknowledged.has(channel)) served.add(text);
        else if (refusals.has(channel))
          refused.set(text, refusals.get(channel)!);
    for (const text of served) refused.delete(text);
    return { served, refused };
  }
}

/** What is needed, and the letter of the family, where there is but one. */
function withFamily(
  needed: NeededFlags,
  kinds: ReadonlySet<ChannelKind> | undefined,
): NeededFlags {
  if (kinds?.size !== 1) return needed;
  const family = kinds.has('keyspace') ? 'K' : 'E';
  return { ...needed, letters: new Set([...needed.letters, family]) };
}
