import type { ReadValue } from '../dispatch/event-value.js';
import type { Expiry } from '../dispatch/expiry.js';
import type {
  ExpirySink,
  WantedPattern,
  WarningInterest,
} from './interests.js';
import { WantedValues } from './wanted-values.js';

/** One life of a pattern of warnings, as of `WantedPattern`: the same pattern with another `before` is another one. */
interface WarningPattern<Pattern> {
  readonly wanted: Pattern;
  readonly before: number;
  readonly sinks: Set<ExpirySink>;
}

/** What of a warning is not known by whoever asked for it. */
export type Warning = Pick<Expiry, 'redisKey' | 'source'> & {
  readonly before: number;
  /** Epoch ms by Redis's clock. */
  readonly deadline: number;
  /** When it was found that the time left had fallen to `before`, by the same clock. */
  readonly detected: number;
  readonly value?: ReadValue | undefined;
};

/**
 * Who asked for warnings, and so which keys are to be looked at so many ms before their deadlines. The
 * `SubscriptionRegistry` has it.
 */
export class WarningPatterns<Pattern extends WantedPattern> {
  /** By `before` and pattern. */
  readonly #patterns = new Map<string, WarningPattern<Pattern>>();
  /** By `before`: of which keys the values are asked for. */
  readonly #values = new Map<number, WantedValues>();

  /**
   * @param make makes a pattern's new life
   * @param prefixLength of the `keyPrefix`, in bytes
   */
  constructor(
    private readonly make: (pattern: string) => Pattern,
    private readonly database: number,
    private readonly prefixLength: number,
  ) {}

  get isEmpty(): boolean {
    return this.#patterns.size === 0;
  }

  /** Each `before` that somebody asks for. */
  get befores(): ReadonlySet<number> {
    return new Set([...this.#patterns.values()].map(({ before }) => before));
  }

  /** Of which keys the values are asked for in warnings so many ms before. */
  valuesFor(before: number): WantedValues {
    const values = this.#values.get(before) ?? new WantedValues();
    this.#values.set(before, values);
    return values;
  }

  add({ pattern, before, onWarning, values }: WarningInterest): void {
    const name = `${before} ${pattern}`;
    const known = this.#patterns.get(name);
    const sinks = known?.sinks ?? new Set();
    sinks.add(onWarning);
    const wanted = known?.wanted ?? this.make(pattern);
    if (!known) this.#patterns.set(name, { wanted, before, sinks });
    if (values) this.valuesFor(before).add(wanted.redisGlob, onWarning, values);
  }

  remove({ pattern, before, onWarning }: WarningInterest): void {
    const name = `${before} ${pattern}`;
    const known = this.#patterns.get(name);
    if (!known?.sinks.delete(onWarning)) return;
    this.valuesFor(before).remove(known.wanted.redisGlob, onWarning);
    if (known.sinks.size === 0) this.#patterns.delete(name);
  }

  wanted(): Pattern[] {
    return [...this.#patterns.values()].map(({ wanted }) => wanted);
  }

  /** Whether somebody asks for warnings of a key; so many ms before, if that is given. */
  wants(redisKey: Buffer, before?: number): boolean {
    for (const pattern of this.#patterns.values()) {
      if (before !== undefined && pattern.before !== before) continue;
      if (pattern.wanted.redisGlob.test(redisKey)) return true;
    }
    return false;
  }

  /** Hands a warning to whoever asked for it. */
  deliver(warning: Warning): void {
    const { redisKey, before, deadline, detected, source, value } = warning;
    const expiry: Expiry = {
      ...{ redisKey, before, source, database: this.database },
      key: redisKey.subarray(this.prefixLength),
      deadline: new Date(deadline),
      lateness: Math.max(0, detected - (deadline - before)),
      ...(value && { value }),
    };
    for (const { wanted, sinks, ...pattern } of this.#patterns.values())
      if (pattern.before === before && wanted.redisGlob.test(redisKey))
        for (const sink of sinks) sink(expiry);
  }
}
