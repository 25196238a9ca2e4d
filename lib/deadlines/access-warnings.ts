import { isDenied } from '../connection/server-error.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { WantedPattern } from '../listening/interests.js';
import type { Log } from '../util/log.js';

/**
 * Tells the operator what the server does not let the module learn of deadlines: each thing once, and what to
 * grant. `DeadlineDiscovery` has one for its node.
 */
export class AccessWarnings {
  #warned = false;
  /** The patterns of which a warning said that they match keys that the ACL forbids. */
  readonly #forbidden = new WeakSet<WantedPattern>();

  constructor(
    private readonly patterns: { wanted(): readonly WantedPattern[] },
    private readonly log: Log,
  ) {}

  /** Looking at keys failed: a warning, once, where an operator has to mend that. */
  failed(error: unknown): void {
    if (!isDenied(error) || this.#warned) {
      this.log.debug(`Looking at deadlines failed: ${reasonOf(error)}`);
      return;
    }
    this.#warned = true;
    this.log.warn(
      `Redis does not let the module learn deadlines (${reasonOf(error)}): expiries are announced as late ` +
        'as Redis finds them. Grant PEXPIRETIME (or PTTL) and SCAN on the keys, or say punctual: false',
    );
  }

  /** The ACL forbids to look at a key: a warning, once for each pattern that matches such keys. */
  forbidden(redisKey: Buffer): void {
    const pattern = this.patterns
      .wanted()
      .find(({ redisGlob }) => redisGlob.test(redisKey));
    if (!pattern || this.#forbidden.has(pattern)) return;
    this.#forbidden.add(pattern);
    this.log.warn(
      `The pattern ${JSON.stringify(pattern.text)} matches keys that the ACL forbids, as ${JSON.stringify(redisKey.toString())}: ` +
        'their deadlines are not known, so their expiries come late or not at all. Grant the user ' +
        `%R~${pattern.redisGlob.pattern} (before Redis 7: ~${pattern.redisGlob.pattern}), or use a pattern for what it may read`,
    );
  }
}
