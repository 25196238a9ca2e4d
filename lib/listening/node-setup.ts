import { missingCommand } from '../connection/server-error.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Log } from '../util/log.js';
import { type ChannelFamily, FAMILIES, LETTER_OF } from './channels.js';
import type { FlagKeeper } from './flag-keeper.js';
import {
  HIDDEN,
  HIDDEN_UNSHOWN,
  type NeededFlags,
  type NotificationFlags,
} from './notification-flags.js';
import type { Learning, ListenerOptions, SetupReport } from './node-status.js';
import { SelfTest, type SelfTestResult } from './self-test.js';
import {
  ReplacedError,
  ServerIdentity,
  SilencedError,
} from './server-identity.js';
import type { Served, SessionChannels } from './session-channels.js';
import { SetupAdvice } from './setup-advice.js';
import type { SubscriptionRegistry } from './subscription-registry.js';

export interface SetupResult extends Served {
  readonly report: SetupReport;
  /** Whether the server announces expiries, as far as can be known. */
  readonly announced: boolean;
  /** That it does is known, and not merely assumed for want of permissions. */
  readonly proven: boolean;
  /** Epoch ms since when announcements may have been missed, if the flags were found missing. */
  readonly missedSince?: number;
}

/**
 * How much of what was found before is looked at anew.
 *
 * - `everything`: nothing is taken for known; the family of channels is chosen anew, and that expiries
 *   are heard is proved anew. Only for a session on which nothing is taken for heard.
 * - `changes`: the session is heard, and keeps its family.
 */
export type SetupScope = 'everything' | 'changes';

/** The session's family of channels is off and the other one is on: it takes another session to listen on that. */
export class FamilyLostError extends Error {}

/**
 * Brings one node's session to what is wanted, in an order that loses nothing: subscribe, wait for
 * the acknowledgement, complete the flags, prove by a self-test that expiries are heard. `NodeListener`
 * applies it when a session begins, when subscriptions change, and every few seconds.
 *
 * It may be applied again at any time, and costs one command where nothing changed.
 */
export class NodeSetup {
  readonly #selfTest: SelfTest;
  readonly #identity: ServerIdentity;
  readonly #advice: SetupAdvice;
  #tested: SelfTestResult | undefined;
  #role: SetupReport['role'] = 'unknown';
  #lastGood: number | undefined;
  /** What was needed and on at the last look. */
  #had: NeededFlags | undefined;

  constructor(
    private readonly node: RedisNode,
    private readonly registry: SubscriptionRegistry,
    private readonly keeper: FlagKeeper,
    private readonly options: ListenerOptions,
    log: Log,
  ) {
    this.#identity = new ServerIdentity(node, log);
    this.#selfTest = new SelfTest(options.database, options.ownPrefix);
    this.#advice = new SetupAdvice(
      node.address,
      keeper,
      options.doesWithoutHearing === true,
      log,
    );
  }

  /** Rejects when a connection is lost, and when another session is needed. */
  async apply(
    channels: SessionChannels,
    scope: SetupScope,
  ): Promise<SetupResult> {
    const lookedAt = Date.now();
    if (scope === 'everything') this.#tested = undefined;
    await this.#checkServer(channels);
    const found = await this.keeper.read();
    // Where nothing else tells, only a test shows whether expiries are still heard.
    if (!found) this.#tested = undefined;
    let flags = found && this.#withHidden(found);
    if (scope === 'everything') await channels.choose(this.#toTry(flags));
    else await channels.refresh();
    // What was on at the last look, and is not any more.
    const before = !flags || !this.#had || flags.missing(this.#had) === '';
    flags = flags && (await this.#complete(channels, flags));
    if (flags) await this.#followFlags(channels, flags, scope);
    if (this.options.notifications !== 'off')
      await this.#prove(channels, flags);

    const { served } = channels;
    const [missing] = [...served.refused.values()].flatMap(
      (refusal) => missingCommand(refusal) ?? [],
    );
    const learning = await this.#learn(channels, flags, missing);
    const needed = this.#needed(channels);
    const report = this.#reportOn(flags, needed, learning);
    const announced = missing === undefined && isAnnounced(report, flags);
    const missedSince = before ? undefined : this.#lastGood;
    if (announced) this.#lastGood = lookedAt;
    this.#had = announced ? onNow(flags, needed) : undefined;
    const { reason } = this.#tested ?? {};
    this.#advice.tell({ report, announced, needed, missing, reason });
    return {
      ...served,
      report,
      announced,
      proven:
        announced &&
        (flags?.announcesExpiry === true || report.selfTest === 'passed'),
      ...(missedSince !== undefined && { missedSince }),
    };
  }

  /** Epoch ms of the newest look at which all was well, if there was one. */
  get lastGood(): number | undefined {
    return this.#lastGood;
  }

  /**
   * Rejects unless the server that the session listens to is the one that commands go to, a primary,
   * and announces expiries at this moment, as far as it tells.
   */
  async assertAnnouncing({ session }: SessionChannels): Promise<void> {
    const { role } = await this.#identity.readOf(session.runId);
    if (role === 'replica' && this.#role === 'primary')
      throw new ReplacedError(`${this.node.address} became a replica`);
    const flags = await this.keeper.read();
    if (flags && !flags.announcesExpiry)
      throw new SilencedError(`${this.node.address} announces nothing`);
  }

  /** The flags that are needed, that of the session's family included. */
  #needed({ family }: SessionChannels): NeededFlags {
    const needed = this.registry.neededFlags();
    if (!family) return needed;
    const letters = new Set([LETTER_OF[family], ...needed.letters]);
    return { ...needed, letters };
  }

  /**
   * The families to try, the best first: those that are on, then those that may be switched on. None
   * where it is not known what is on.
   */
  #toTry(flags: NotificationFlags | undefined): ChannelFamily[] {
    if (!flags) return [];
    const on = familiesOn(flags);
    if (this.options.notifications !== 'ensure') return on;
    return [...on, ...FAMILIES.filter((family) => !on.includes(family))];
  }

  /** Listens on what the flags turned out to be: a family may be off, and not to be switched on. */
  async #followFlags(
    channels: SessionChannels,
    flags: NotificationFlags,
    scope: SetupScope,
  ): Promise<void> {
    const { family } = channels;
    const on = familiesOn(flags);
    if (family && on.includes(family)) return;
    if (scope === 'everything' || !family) await channels.choose(on);
    else if (on.length > 0)
      throw new FamilyLostError(
        `${this.node.address} does not announce anything on ${family} channels any more`,
      );
  }

  /** With what the newest self-test heard, and the server does not print. */
  #withHidden(flags: NotificationFlags): NotificationFlags {
    return flags.hides ? flags.plus(this.#tested?.hiddenClasses ?? '') : flags;
  }

  /** Completes the flags; what the server does not print must not be dropped by writing. */
  async #complete(
    channels: SessionChannels,
    flags: NotificationFlags,
  ): Promise<NotificationFlags> {
    const needed = this.#needed(channels);
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
    if (channels.family) await channels.refresh();
    else await channels.choose(FAMILIES.filter((each) => heardOn.has(each)));
  }

  /** By what new keys are learnt of: where the server announces none, it is asked to track them. */
  async #learn(
    { session }: SessionChannels,
    flags: NotificationFlags | undefined,
    missing: string | undefined,
  ): Promise<Learning | undefined> {
    const { notifications } = this.options;
    if (!this.registry.wantsHints || notifications === 'off') return undefined;
    // A server that cannot announce anything tracks nothing either.
    if (missing) return 'scan';
    const { events } = this.#tested ?? {};
    const announced =
      flags?.has('n') || events?.has('new')
        ? 'new'
        : flags?.has('g') || events?.has('expire')
          ? 'expire'
          : undefined;
    const tracked = await session.track(
      announced ? [] : this.registry.keyPrefixes(),
      () => this.node.openListener(),
    );
    return announced ?? (tracked ? 'tracking' : 'scan');
  }

  /** What the newest self-test showed; runs one if there is none. */
  async #test(channels: SessionChannels): Promise<SelfTestResult> {
    return (this.#tested ??= await this.#selfTest.run(channels, this.node));
  }

  /** A primary that became a replica, or another server in its place, is listened to anew. */
  async #checkServer({ session }: SessionChannels): Promise<void> {
    const { role } = await this.#identity.readOf(session.runId);
    const isDemoted = this.#role === 'primary' && role === 'replica';
    // Until it is known to be a primary again, no more is said of it.
    this.#role = isDemoted ? 'unknown' : role;
    if (isDemoted)
      throw new ReplacedError(`${this.node.address} became a replica`);
  }

  #reportOn(
    flags: NotificationFlags | undefined,
    needed: NeededFlags,
    learning: Learning | undefined,
  ): SetupReport {
    return {
      ...(learning && { learning }),
      role: this.#role,
      selfTest:
        this.options.notifications === 'off'
          ? 'off'
          : (this.#tested?.outcome ?? 'unavailable'),
      ...(flags && { flags: flags.text, missingFlags: flags.missing(needed) }),
    };
  }
}

const familiesOn = (flags: NotificationFlags): ChannelFamily[] =>
  FAMILIES.filter((family) => flags.has(LETTER_OF[family]));

/** What is needed and on. What the server does not know is missing for ever, and hides no loss of the rest. */
function onNow(
  flags: NotificationFlags | undefined,
  needed: NeededFlags,
): NeededFlags | undefined {
  if (!flags) return undefined;
  const letters = [...needed.letters].filter((letter) => flags.has(letter));
  return { ...needed, letters: new Set(letters) };
}

/** The flags are of now, the self-test may be older. */
const isAnnounced = (
  report: SetupReport,
  flags: NotificationFlags | undefined,
): boolean =>
  report.role !== 'replica' &&
  report.selfTest !== 'failed' &&
  (flags?.announcesExpiry ?? true);
