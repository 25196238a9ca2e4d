import { missingCommand } from '../connection/server-error.js';
import type { RedisNode } from '../topology/redis-node.js';
import { type ChannelFamily, FAMILIES, LETTER_OF } from './channels.js';
import type { FlagKeeper } from './flag-keeper.js';
import type { ListenerOptions } from './node-status.js';
import {
  HIDDEN,
  HIDDEN_UNSHOWN,
  type NeededFlags,
  type NotificationFlags,
} from './notification-flags.js';
import { SelfTest, type SelfTestResult } from './self-test.js';
import type { SessionChannels } from './session-channels.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

/**
 * How much of what was found before is looked at anew.
 *
 * - `everything`: nothing is taken for known; the family of channels is chosen anew, and that expiries
 *   are heard is proved anew. Only for a session on which nothing is taken for heard.
 * - `changes`: the session is heard, and goes on to be.
 */
export type SetupScope = 'everything' | 'changes';

/** The session's family of channels is off and the other one is on: it takes another session to listen on that. */
export class FamilyLostError extends Error {}

/**
 * Sees to it that a session hears what its node announces: chooses the family of channels, has the
 * flags completed, and proves by a self-test that expiries are heard. `NodeSetup` has one for its node
 * and calls `apply` at each of its looks.
 *
 * Which family: keyspace channels, which the server filters by pattern; keyevent channels where the
 * ACL refuses the former, where they are off and the latter are on, or where the self-test does not
 * hear them. Where renewals are not wanted it is the other way round: only keyevent channels can leave
 * them out. It is decided when a session begins. Later it changes in two cases, by `#move`, which
 * misses nothing: renewals are wanted that were not, or the other way round; or the ACL refuses a new
 * pattern on one family and grants it on the other.
 */
export class HearingSetup {
  readonly #selfTest: SelfTest;
  #tested: SelfTestResult | undefined;

  constructor(
    private readonly node: RedisNode,
    private readonly registry: SubscriptionRegistry,
    private readonly keeper: FlagKeeper,
    private readonly options: ListenerOptions,
  ) {
    this.#selfTest = new SelfTest(options.database, options.ownPrefix);
  }

  /** The newest self-test; undefined if there was none for the present session. */
  get tested(): SelfTestResult | undefined {
    return this.#tested;
  }

  /** The flags that are needed, that of the session's family included. */
  needed({ family }: SessionChannels): NeededFlags {
    const needed = this.registry.neededFlags();
    return family ? withFamily(needed, family) : needed;
  }

  /** The server's flags; undefined where it does not tell. */
  async read(scope: SetupScope): Promise<NotificationFlags | undefined> {
    const found = await this.keeper.read();
    // Where nothing else tells, only a test shows whether expiries are still heard.
    if (scope === 'everything' || !found) this.#tested = undefined;
    return found && this.#withHidden(found);
  }

  /**
   * Subscribes, completes the flags and proves. Returns the flags as they are then; undefined where
   * the server does not tell. Rejects when a connection is lost, and with `FamilyLostError`.
   *
   * @param found what `read` returned
   * @param renewals whether events of keys that are given a new deadline are wanted
   */
  async apply(
    channels: SessionChannels,
    found: NotificationFlags | undefined,
    scope: SetupScope,
    renewals: boolean,
  ): Promise<NotificationFlags | undefined> {
    const isNew = scope === 'everything';
    const hasChanged = channels.renewals !== renewals;
    channels.renewals = renewals;
    if (isNew) await channels.choose(this.#toTry(found, renewals));
    else await channels.refresh();
    let flags =
      found && (await this.#complete(channels, found, this.needed(channels)));
    if (flags) await this.#followFlags(channels, flags, scope);
    if (this.options.notifications === 'off') return flags;
    if (!isNew && channels.family) {
      const other = this.#toMoveTo(channels, hasChanged);
      if (other) flags = await this.#move(channels, flags, other);
    }
    await this.#prove(channels, flags);
    return flags;
  }

  /**
   * The families to try, the best first: those that are on, then those that may be switched on. None
   * where it is not known what is on.
   */
  #toTry(
    flags: NotificationFlags | undefined,
    renewals: boolean,
  ): ChannelFamily[] {
    if (!flags) return [];
    const all = renewals ? FAMILIES : FAMILIES.toReversed();
    const on = all.filter((family) => flags.has(LETTER_OF[family]));
    if (this.options.notifications !== 'ensure') return on;
    const off = all.filter((family) => !on.includes(family));
    // What they save is worth a letter.
    return renewals ? [...on, ...off] : [...all];
  }

  /** Listens on what the flags turned out to be: a family may be off, and not to be switched on. */
  async #followFlags(
    channels: SessionChannels,
    flags: NotificationFlags,
    scope: SetupScope,
  ): Promise<void> {
    const { family } = channels;
    if (family && flags.has(LETTER_OF[family])) return;
    const on = FAMILIES.filter((each) => flags.has(LETTER_OF[each]));
    if (scope === 'everything' || !family) await channels.choose(on);
    else if (on.length > 0)
      throw new FamilyLostError(
        `${this.node.address} does not announce anything on ${family} channels any more`,
      );
  }

  /** The family that a session which is heard should move to; undefined where it should stay. */
  #toMoveTo(
    channels: SessionChannels,
    hasChanged: boolean,
  ): ChannelFamily | undefined {
    const { family, renewals, served } = channels;
    if (hasChanged) {
      const wanted = renewals ? 'keyspace' : 'keyevent';
      return wanted === family ? undefined : wanted;
    }
    const refused = [...served.refused.values()];
    if (channels.hasTriedOther || refused.every(missingCommand))
      return undefined;
    channels.hasTriedOther = true;
    return family === 'keyspace' ? 'keyevent' : 'keyspace';
  }

  /**
   * Moves a session that is heard to the other family, such that no event is missed or heard twice:
   * it is subscribed to both; the self-test's key shows that the other one is heard, and what comes
   * after that announcement counts on the other family; then the first one is left. Redis announces
   * one event on both families before the next one, so the test's own event is between all others.
   * Where the server refuses, or the test hears nothing, the session stays where it is.
   */
  async #move(
    channels: SessionChannels,
    flags: NotificationFlags | undefined,
    family: ChannelFamily,
  ): Promise<NotificationFlags | undefined> {
    let now = flags;
    if (await channels.prepare(family)) {
      const needed = withFamily(this.needed(channels), family);
      now = flags && (await this.#complete(channels, flags, needed));
      if (now?.has(LETTER_OF[family]) ?? true)
        this.#tested = await this.#selfTest.run(channels, this.node);
    }
    await channels.leaveOther();
    return now;
  }

  /** With what the newest self-test heard, and the server does not print. */
  #withHidden(flags: NotificationFlags): NotificationFlags {
    return flags.hides ? flags.plus(this.#tested?.hiddenClasses ?? '') : flags;
  }

  /** Completes the flags; what the server does not print must not be dropped by writing. */
  async #complete(
    channels: SessionChannels,
    flags: NotificationFlags,
    needed: NeededFlags,
  ): Promise<NotificationFlags> {
    if (this.options.notifications !== 'ensure') return flags;
    if (this.keeper.lacking(flags, needed) === '') return flags;
    let known = flags;
    let unsure = '';
    if (flags.hides) {
      this.#tested = undefined;
      const { outcome, hiddenClasses } = await this.#test(channels);
      // What is hidden cannot be known: nothing is written that could drop it.
      if (outcome !== 'passed' && flags.announcesExpiry) return flags;
      known = flags.plus(hiddenClasses);
      // With neither family on, nothing can be heard: rather some more than one less.
      unsure = flags.announcesExpiry ? HIDDEN_UNSHOWN : HIDDEN;
    }
    const completed = await this.keeper.complete(known, needed, unsure);
    if (completed !== known) this.#tested = undefined;
    return completed;
  }

  /** Runs the self-test if it is due; where the flags do not tell which family is on, it does. */
  async #prove(
    channels: SessionChannels,
    flags: NotificationFlags | undefined,
  ): Promise<void> {
    const { heardOn } = await this.#test(channels);
    if (flags) return;
    const all = channels.renewals ? FAMILIES : FAMILIES.toReversed();
    if (channels.family) await channels.refresh();
    else await channels.choose(all.filter((each) => heardOn.has(each)));
  }

  /** What the newest self-test showed; runs one if there is none. */
  async #test(channels: SessionChannels): Promise<SelfTestResult> {
    return (this.#tested ??= await this.#selfTest.run(channels, this.node));
  }
}

function withFamily(needed: NeededFlags, family: ChannelFamily): NeededFlags {
  const letters = new Set([LETTER_OF[family], ...needed.letters]);
  return { ...needed, letters };
}
