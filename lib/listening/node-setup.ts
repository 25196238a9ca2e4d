import { missingCommand } from '../connection/server-error.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { Log } from '../util/log.js';
import { LETTER_OF } from './channels.js';
import type { DeadlineKeeper } from './deadline-keeper.js';
import type { FlagKeeper } from './flag-keeper.js';
import { HearingSetup, type SetupScope } from './hearing-setup.js';
import type { NeededFlags, NotificationFlags } from './notification-flags.js';
import type { Learning, ListenerOptions, SetupReport } from './node-status.js';
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
 * Brings one node's session to what is wanted, in an order that loses nothing: subscribe, wait for
 * the acknowledgement, complete the flags, prove by a self-test that expiries are heard. `NodeListener`
 * applies it when a session begins, when subscriptions change, and every few seconds.
 *
 * It may be applied again at any time, and costs one command where nothing changed.
 */
export class NodeSetup {
  readonly #hearing: HearingSetup;
  readonly #identity: ServerIdentity;
  readonly #advice: SetupAdvice;
  #role: SetupReport['role'] = 'unknown';
  #lastGood: number | undefined;
  /** What was needed and on at the last look. */
  #had: NeededFlags | undefined;
  #learning: Learning | undefined;

  constructor(
    private readonly node: RedisNode,
    private readonly registry: SubscriptionRegistry,
    private readonly keeper: FlagKeeper,
    private readonly options: ListenerOptions,
    private readonly deadlines: DeadlineKeeper | undefined,
    log: Log,
  ) {
    this.#identity = new ServerIdentity(node, log);
    this.#hearing = new HearingSetup(node, registry, keeper, options);
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
    await this.#checkServer(channels);
    const found = await this.#hearing.read(scope);
    const renewals = this.#wantsRenewals;
    const flags = await this.#hearing.apply(channels, found, scope, renewals);
    const { served } = channels;
    const [missing] = [...served.refused.values()].flatMap(
      (refusal) => missingCommand(refusal) ?? [],
    );
    const learning = await this.#learn(channels, flags, missing);
    this.#learning = learning;
    if (channels.leavesOutRenewals && learning !== 'new')
      await channels.hearRenewals();
    const needed = this.#hearing.needed(channels);
    const report = this.#reportOn(channels, flags, learning);
    const announced = missing === undefined && isAnnounced(report, flags);
    // What was on at the last look, and was not any more at this one.
    const isLost = found && this.#had && found.missing(this.#had) !== '';
    const missedSince = isLost ? this.#lastGood : undefined;
    if (announced) this.#lastGood = lookedAt;
    this.#had = announced ? onNow(flags, needed) : undefined;
    const { reason } = this.#hearing.tested ?? {};
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

  /** Whether a session should hear of renewals and does not, or the other way round. */
  isOutdated(channels: SessionChannels): boolean {
    return channels.renewals !== this.#wantsRenewals;
  }

  /** Where nothing but renewals tells of new keys, they are listened for. */
  get #wantsRenewals(): boolean {
    return this.deadlines?.wantsRenewals !== false || this.#learning !== 'new';
  }

  /** Epoch ms of the newest look at which all was well, if there was one. */
  get lastGood(): number | undefined {
    return this.#lastGood;
  }

  /**
   * Rejects unless the server that the session listens to is the one that commands go to, a primary,
   * and announces expiries at this moment on the channels that are listened on, as far as it tells.
   */
  async assertAnnouncing({ session, family }: SessionChannels): Promise<void> {
    const { role } = await this.#identity.readOf(session.runId);
    if (role === 'replica' && this.#role === 'primary')
      throw new ReplacedError(`${this.node.address} became a replica`);
    const flags = await this.keeper.read();
    const isHeard = !family || flags?.has(LETTER_OF[family]);
    if (flags && !(flags.announcesExpiry && isHeard))
      throw new SilencedError(
        `${this.node.address} does not announce expiries on ${family ?? 'any'} channels`,
      );
  }

  /** By what new keys are learnt of: where the server announces none, it is asked to track them. */
  async #learn(
    channels: SessionChannels,
    flags: NotificationFlags | undefined,
    missing: string | undefined,
  ): Promise<Learning | undefined> {
    const { notifications } = this.options;
    if (!this.registry.wantsHints || notifications === 'off') return undefined;
    // A server that cannot announce anything tracks nothing either.
    if (missing) return 'scan';
    const announced = this.#announces('n', 'new', flags)
      ? 'new'
      : this.#announces('g', 'expire', flags)
        ? 'expire'
        : undefined;
    const tracked = await channels.session.track(
      announced ? [] : this.registry.keyPrefixes(),
      () => this.node.openListener(),
    );
    return announced ?? (tracked ? 'tracking' : 'scan');
  }

  /** Whether the server announces an event, by the letter of its class or by what the self-test heard. */
  #announces(
    letter: string,
    event: string,
    flags: NotificationFlags | undefined,
  ): boolean {
    const heard = this.#hearing.tested?.events.has(event);
    return flags?.has(letter) === true || heard === true;
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
    channels: SessionChannels,
    flags: NotificationFlags | undefined,
    learning: Learning | undefined,
  ): SetupReport {
    const { tested } = this.#hearing;
    const isOff = this.options.notifications === 'off';
    const isKnown = flags !== undefined || tested?.outcome === 'passed';
    const isHeard =
      !channels.leavesOutRenewals && this.#announces('g', 'expire', flags);
    return {
      ...(learning && { learning }),
      role: this.#role,
      selfTest: isOff ? 'off' : (tested?.outcome ?? 'unavailable'),
      channels: channels.family ?? 'undecided',
      ...(this.registry.wantsHints &&
        isKnown && { renewals: isHeard ? 'heard' : 'not heard' }),
      ...(flags && {
        flags: flags.text,
        missingFlags: flags.missing(this.#hearing.needed(channels)),
      }),
    };
  }
}

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
