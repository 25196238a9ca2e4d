import { missingCommand } from '../connection/server-error.js';
import type { Log } from '../util/log.js';
import { chooseHeard } from './channel-choice.js';
import { ChannelKeeper, type Served } from './channel-keeper.js';
import { ExpiryRoute } from './expiry-route.js';
import { type FlagKeeper, flagsAdvice } from './flag-keeper.js';
import type { ListenerSession } from './listener-session.js';
import {
  HIDDEN,
  HIDDEN_UNSHOWN,
  type NeededFlags,
  type NotificationFlags,
} from './notification-flags.js';
import type { Learning, ListenerOptions, SetupReport } from './node-status.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import {
  ReplacedError,
  ServerIdentity,
  SilencedError,
} from './server-identity.js';
import { SelfTest, type SelfTestResult } from './self-test.js';
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
 * Brings one node's session to what is wanted, in an order that loses nothing: subscribe, wait for
 * the acknowledgement, complete the flags, prove by a self-test that expiries are heard.
 *
 * It may be applied again at any time, and costs one command where nothing changed.
 */
export class NodeSetup {
  readonly route: ExpiryRoute;
  readonly #channels: ChannelKeeper;
  readonly #selfTest: SelfTest;
  readonly #identity: ServerIdentity;
  #tested: SelfTestResult | undefined;
  #role: SetupReport['role'] = 'unknown';
  #lastGood: number | undefined;
  /** What was needed and on at the last look. */
  #had: NeededFlags | undefined;
  #warned: string | undefined;
  #learning: Learning | undefined;

  constructor(
    private readonly node: RedisNode,
    private readonly registry: SubscriptionRegistry,
    private readonly keeper: FlagKeeper,
    private readonly options: ListenerOptions,
    private readonly log: Log,
    deadlines: DeadlineKeeper | undefined,
  ) {
    this.#identity = new ServerIdentity(node, log);
    this.#selfTest = new SelfTest(options.database, options.ownPrefix);
    this.route = new ExpiryRoute(registry, this.#selfTest, deadlines);
    this.#channels = new ChannelKeeper(
      registry,
      this.route,
      options.notifications === 'ensure',
    );
  }

  /** `test`: look anew whether expiries are heard. Rejects when a connection is lost. */
  async apply(session: ListenerSession, test: boolean): Promise<SetupResult> {
    const lookedAt = Date.now();
    if (test) {
      this.#tested = undefined;
      this.#channels.restart();
    }
    await this.#checkServer(session);
    let needed = this.#channels.needed();
    const found = await this.keeper.read();
    // Where nothing else tells, only a test shows whether expiries are still heard.
    if (!found) this.#tested = undefined;
    let flags = found && this.#withHidden(found);
    let refused = await this.#channels.subscribe(
      session,
      this.#channels.expected(flags, needed),
    );
    needed = this.#channels.needed();
    // What was on at the last look, and is not any more.
    const before = !flags || !this.#had || flags.missing(this.#had) === '';
    if (flags && this.#isWanting(flags, needed)) {
      flags = await this.#complete(session, flags, needed);
      refused = await this.#channels.subscribe(
        session,
        this.#channels.expected(flags, needed),
        flags,
      );
    }
    if (this.options.notifications !== 'off')
      refused = await this.#prove(session, flags, refused);

    const served = this.#channels.servedBy(session, refused);
    const [missing] = [...served.refused.values()].flatMap(
      (reason) => missingCommand(reason) ?? [],
    );
    const learning = await this.#learn(session, flags, missing);
    const report = this.#reportOn(flags, needed, learning);
    const announced = !missing && isAnnounced(report, flags);
    const missedSince = before ? undefined : this.#lastGood;
    if (announced) this.#lastGood = lookedAt;
    this.#had = announced ? this.#onNow(flags, needed) : undefined;
    this.#warn(report, announced, needed, missing);
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
  async assertAnnouncing(session: ListenerSession): Promise<void> {
    const { role } = await this.#identity.readOf(session.runId);
    if (role === 'replica' && this.#role === 'primary')
      throw new ReplacedError(`${this.node.address} became a replica`);
    const flags = await this.keeper.read();
    if (flags && !flags.announcesExpiry)
      throw new SilencedError(`${this.node.address} announces nothing`);
  }

  #isWanting(flags: NotificationFlags, needed: NeededFlags): boolean {
    if (this.options.notifications !== 'ensure') return false;
    return this.keeper.lacking(flags, needed) !== '';
  }

  /** With what the newest self-test heard, and the server does not print. */
  #withHidden(flags: NotificationFlags): NotificationFlags {
    return flags.hides ? flags.plus(this.#tested?.hiddenClasses ?? '') : flags;
  }

  /** Completes the flags; what the server does not print must not be dropped by writing. */
  async #complete(
    session: ListenerSession,
    flags: NotificationFlags,
    needed: NeededFlags,
  ): Promise<NotificationFlags> {
    let known = flags;
    let unsure = '';
    if (flags.hides) {
      this.#tested = undefined;
      const { outcome, hiddenClasses } = await this.#test(session);
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

  /** Runs the self-test if it is due, and where nothing else tells which channels work, goes by it. */
  async #prove(
    session: ListenerSession,
    flags: NotificationFlags | undefined,
    refused: ReadonlyMap<string, string>,
  ): Promise<ReadonlyMap<string, string>> {
    const { heardOn } = await this.#test(session);
    if (flags || heardOn.size === 0) return refused;
    return this.#channels.subscribe(session, chooseHeard(heardOn));
  }

  /** By what new keys are learnt of: where the server announces none, it is asked to track them. */
  async #learn(
    session: ListenerSession,
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
  async #test(session: ListenerSession): Promise<SelfTestResult> {
    const { kinds } = this.route;
    this.#tested ??= await this.#selfTest.run(
      session,
      this.registry.channels(kinds).keys(),
      kinds,
      this.node,
    );
    return this.#tested;
  }

  /** A primary that became a replica, or another server in its place, is listened to anew. */
  async #checkServer(session: ListenerSession): Promise<void> {
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

  /** Says once what an operator must mend, and again only after it was well in between. */
  #warn(
    report: SetupReport,
    announced: boolean,
    needed: NeededFlags,
    missing: string | undefined,
  ): void {
    let text: string | undefined;
    if (missing) {
      // Whoever cannot go on without is refused by an error that says so.
      if (this.options.doesWithoutHearing)
        text =
          `has no ${missing}, so expiries cannot be heard: keys are looked at when they are due, and learnt of by scans alone ` +
          '(punctual.scanInterval); those that come and go between two scans are not handled. Use a server with PSUBSCRIBE and keyspace notifications to hear of them at once';
    } else if (report.role === 'replica')
      text = 'is a replica, and replicas do not announce expiries';
    else if (!announced)
      text = `does not announce expiries (flags: ${report.flags ?? 'CONFIG is forbidden'}, self-test: ${report.selfTest}). ${flagsAdvice(needed)}`;
    else if (report.missingFlags)
      text = this.#lacks(report.missingFlags, needed);
    else if (report.selfTest === 'unavailable' && report.flags === undefined)
      text = `lets the module neither read notify-keyspace-events nor write a test key (${this.#tested?.reason}): whether it announces expiries is not known. ${flagsAdvice(needed)}`;
    if (text !== undefined && text !== this.#warned)
      this.log.warn(`${this.node.address} ${text}`);
    this.#warned = text;
    if (!missing) this.#warnOfLearning(report, needed);
  }

  /** What is needed and on. What the server does not know is missing for ever, and hides no loss of the rest. */
  #onNow(
    flags: NotificationFlags | undefined,
    needed: NeededFlags,
  ): NeededFlags | undefined {
    if (!flags) return undefined;
    const letters = [...needed.letters].filter((letter) => flags.has(letter));
    return this.#channels.inUse({ ...needed, letters: new Set(letters) });
  }

  #lacks(missing: string, needed: NeededFlags): string {
    const unknown = this.keeper.unknownOf(missing);
    return unknown === missing
      ? `does not know the flags "${unknown}" of notify-keyspace-events: the events of a psubscribe() that needs them do not exist on this server`
      : `lacks the flags "${missing}". ${flagsAdvice(needed)}`;
  }

  /** Says once that new keys are learnt of in a way that is worse than it could be. */
  #warnOfLearning({ learning }: SetupReport, needed: NeededFlags): void {
    if (learning === this.#learning) return;
    this.#learning = learning;
    if (learning === 'tracking')
      this.log.log(
        `${this.node.address} announces no new keys: they are learnt of by client tracking`,
      );
    else if (learning === 'scan')
      this.log.warn(
        `${this.node.address} announces no new keys and does not track them: they are learnt of by scans alone ` +
          `(punctual.scanInterval), and those that come and go between two scans not at all. ${flagsAdvice({ ...needed, letters: new Set([...needed.letters, 'n']) })}`,
      );
  }
}

/** The flags are of now, the self-test may be older. */
const isAnnounced = (
  report: SetupReport,
  flags: NotificationFlags | undefined,
): boolean =>
  report.role !== 'replica' &&
  report.selfTest !== 'failed' &&
  (flags?.announcesExpiry ?? true);
