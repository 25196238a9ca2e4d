import { Inject, Injectable } from '@nestjs/common';
import {
  type HealthIndicatorResult,
  HealthIndicatorService,
} from '@nestjs/terminus';
import { RedisExpirySubscriber } from '../redis-expiry.subscriber.js';
import {
  type HealthLimits,
  type Trouble,
  checkLimits,
  troublesOf,
} from './troubles.js';

/**
 * Tells Terminus whether expiries are heard and handled in time. List it in the `providers` of a module that imports
 * `TerminusModule`, and where `RedisExpirySubscriber` can be injected.
 *
 * Guarantees: it asks Redis nothing, so a check takes no time and never hangs.
 */
@Injectable()
export class RedisExpiryHealthIndicator {
  /** Since when each figure is beyond its limit, by what it is. */
  readonly #since = new Map<string, Date>();

  /** Nest calls it. @internal */
  constructor(
    @Inject(HealthIndicatorService)
    private readonly health: HealthIndicatorService,
    @Inject(RedisExpirySubscriber)
    private readonly subscriber: RedisExpirySubscriber,
  ) {}

  /**
   * `up` with `lateness` (p99, in ms) and `waiting`; else `down` with `troubles` too, which say which node, group or limit it
   * is, since when, and why.
   *
   * @param key the name in the answer of the health check
   * @throws RedisExpiryError `INVALID_OPTION_MAX_…`
   */
  isHealthy<const Key extends string = 'redis-expiry'>(
    key: Key = 'redis-expiry' as Key,
    limits: HealthLimits = {},
  ): HealthIndicatorResult<Key> {
    const status = this.subscriber.status();
    const troubles = troublesOf(status, checkLimits(limits)).map((trouble) =>
      this.#dated(trouble),
    );
    const figures = {
      ...(status.lateness.p99 !== undefined && {
        lateness: status.lateness.p99,
      }),
      waiting: status.groups.reduce(
        (sum, { waiting = 0 }) => sum + waiting,
        status.queued,
      ),
    };
    this.#forgetBut(new Set(troubles.map(nameOf)));
    const check = this.health.check(key);
    return troubles.length === 0
      ? check.up(figures)
      : check.down({ ...figures, troubles });
  }

  /** `status()` does not tell since when a figure is beyond a limit that only the caller knows. */
  #dated(trouble: Trouble): Trouble {
    const name = nameOf(trouble);
    const since = trouble.since ?? this.#since.get(name) ?? new Date();
    this.#since.set(name, since);
    return { ...trouble, since };
  }

  #forgetBut(names: ReadonlySet<string>): void {
    for (const name of this.#since.keys())
      if (!names.has(name)) this.#since.delete(name);
  }
}

const nameOf = ({ node, group, limit }: Trouble): string =>
  JSON.stringify([node, group, limit]);
