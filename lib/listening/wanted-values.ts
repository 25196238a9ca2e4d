import { type ValueKinds, allKinds } from '../dispatch/event-value.js';
import type { RedisGlob } from '../dispatch/redis-glob.js';

/** Of which keys the values are asked for, and by whom. Each `SubscriptionRegistry` has one. */
export class WantedValues {
  /** By the pattern as Redis knows it: what each who asks does ask for. */
  readonly #wishes = new Map<string, Map<unknown, ValueKinds>>();
  /** All who ask for the same pattern together. */
  readonly #patterns = new Map<string, [glob: RedisGlob, kinds: ValueKinds]>();

  /** Which types of values are asked for at all; undefined where nobody asks for any. */
  get kinds(): ValueKinds | undefined {
    return allKinds([...this.#patterns.values()].map(([, kinds]) => kinds));
  }

  /** The name of a key of which the value is asked for, whether it exists or not. */
  get example(): string | undefined {
    const [pattern] = this.#patterns.keys();
    return pattern;
  }

  /** In which types of keys the value of one is asked for; undefined where nobody asks for it. */
  kindsOf(redisKey: Buffer): ValueKinds | undefined {
    let kinds: ValueKinds | undefined;
    for (const [glob, some] of this.#patterns.values())
      if (kinds !== 'either' && glob.test(redisKey))
        kinds = allKinds([kinds, some]);
    return kinds;
  }

  /** @param glob matches keys with their `keyPrefix` */
  add(glob: RedisGlob, who: unknown, kinds: ValueKinds): void {
    const wishes = this.#wishes.get(glob.pattern) ?? new Map();
    this.#wishes.set(glob.pattern, wishes.set(who, kinds));
    this.#note(glob);
  }

  /** Does nothing where it was not added. */
  remove(glob: RedisGlob, who: unknown): void {
    this.#wishes.get(glob.pattern)?.delete(who);
    this.#note(glob);
  }

  #note(glob: RedisGlob): void {
    const kinds = allKinds(this.#wishes.get(glob.pattern)?.values() ?? []);
    if (kinds) this.#patterns.set(glob.pattern, [glob, kinds]);
    else {
      this.#patterns.delete(glob.pattern);
      this.#wishes.delete(glob.pattern);
    }
  }
}
