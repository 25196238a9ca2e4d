import type { Log } from '../util/log.js';
import { type FlagKeeper, flagsAdvice } from './flag-keeper.js';
import type { Learning, SetupReport } from './node-status.js';
import type { NeededFlags } from './notification-flags.js';

/** What a look at a server found, as far as an operator may have to mend it. */
export interface SetupFindings {
  readonly report: SetupReport;
  /** Whether the server announces expiries, as far as can be known. */
  readonly announced: boolean;
  readonly needed: NeededFlags;
  /** The command that the server lacks and that subscribing takes. */
  readonly missing: string | undefined;
  /** Why the self-test was unavailable. */
  readonly reason: string | undefined;
}

/**
 * Tells the operator of one server, in the log, what keeps expiries from being heard and what mends
 * it. `NodeSetup` gives it what each look found; it says a thing once, and again only after it was
 * well in between.
 */
export class SetupAdvice {
  #warned: string | undefined;
  #learning: Learning | undefined;

  constructor(
    private readonly address: string,
    private readonly keeper: Pick<FlagKeeper, 'unknownOf'>,
    private readonly doesWithoutHearing: boolean,
    private readonly log: Log,
  ) {}

  tell(findings: SetupFindings): void {
    const text = this.#wordsFor(findings);
    if (text !== undefined && text !== this.#warned)
      this.log.warn(`${this.address} ${text}`);
    this.#warned = text;
    if (findings.missing === undefined) this.#tellOfLearning(findings);
  }

  #wordsFor({
    report,
    announced,
    needed,
    missing,
    reason,
  }: SetupFindings): string | undefined {
    const { role, flags, missingFlags, selfTest } = report;
    if (missing !== undefined) {
      // Whoever cannot go on without is refused by an error that says so.
      if (!this.doesWithoutHearing) return undefined;
      return (
        `has no ${missing}, so expiries cannot be heard: keys are looked at when they are due, and learnt of by scans alone ` +
        '(punctual.scanInterval); those that come and go between two scans are not handled. Use a server with PSUBSCRIBE and keyspace notifications to hear of them at once'
      );
    }
    if (role === 'replica')
      return 'is a replica, and replicas do not announce expiries';
    if (!announced)
      return `does not announce expiries (flags: ${flags ?? 'CONFIG is forbidden'}, self-test: ${selfTest}). ${flagsAdvice(needed)}`;
    if (missingFlags) return this.#lacks(missingFlags, needed);
    if (selfTest === 'unavailable' && flags === undefined)
      return `lets the module neither read notify-keyspace-events nor write a test key (${reason}): whether it announces expiries is not known. ${flagsAdvice(needed)}`;
    return undefined;
  }

  #lacks(missing: string, needed: NeededFlags): string {
    const unknown = this.keeper.unknownOf(missing);
    return unknown === missing
      ? `does not know the flags "${unknown}" of notify-keyspace-events: the events of a psubscribe() that needs them do not exist on this server`
      : `lacks the flags "${missing}". ${flagsAdvice(needed)}`;
  }

  /** Says once that new keys are learnt of in a way that is worse than it could be. */
  #tellOfLearning({ report: { learning }, needed }: SetupFindings): void {
    if (learning === this.#learning) return;
    this.#learning = learning;
    if (learning === 'tracking')
      this.log.log(
        `${this.address} announces no new keys: they are learnt of by client tracking`,
      );
    else if (learning === 'scan')
      this.log.warn(
        `${this.address} announces no new keys and does not track them: they are learnt of by scans alone ` +
          `(punctual.scanInterval), and those that come and go between two scans not at all. ${flagsAdvice({ ...needed, letters: new Set([...needed.letters, 'n']) })}`,
      );
  }
}
