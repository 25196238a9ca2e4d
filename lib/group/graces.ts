import type { RedisGlob } from '../dispatch/redis-glob.js';
import type { KnownHandler, OwnHandlers } from './own-handlers.js';

/** A pattern of handlers with a grace, and the longest of them in ms. */
interface GracedPattern {
  readonly glob: RedisGlob;
  readonly grace: number;
}

/**
 * For which keys some handler of a group has a `grace`, in whatever instance. Whoever leads notes which of these keys
 * run out, and which come back. Each instance has one for each group, as it may lead.
 */
export class Graces {
  #own: readonly GracedPattern[] = [];
  /** Of which handlers `#own` is. */
  #ownText: string | undefined;
  #foreign: readonly GracedPattern[] = [];

  /** @param prefixLength length of the `keyPrefix`, in bytes */
  constructor(
    private readonly own: OwnHandlers,
    private readonly prefixLength: number,
  ) {}

  /** The longest grace of all, in ms; 0 where no handler has one. */
  get longest(): number {
    let longest = 0;
    for (const { grace } of this.#all()) longest = Math.max(longest, grace);
    return longest;
  }

  /** These are the handlers of other instances now. */
  take(foreign: Iterable<KnownHandler>): void {
    this.#foreign = gracedOf(foreign);
  }

  /** Whether a handler with a grace asks for a key, which is given with its `keyPrefix`. */
  cover(redisKey: Buffer): boolean {
    const all = this.#all();
    if (all.length === 0) return false;
    const key = redisKey.subarray(this.prefixLength);
    return all.some(({ glob }) => glob.test(key));
  }

  #all(): readonly GracedPattern[] {
    const { own } = this;
    if (own.text !== this.#ownText) {
      this.#ownText = own.text;
      this.#own = gracedOf([...own].map(({ handler }) => handler));
    }
    if (this.#foreign.length === 0) return this.#own;
    if (this.#own.length === 0) return this.#foreign;
    return [...this.#own, ...this.#foreign];
  }
}

/** What SWEEP is told of some keys: of which it is to note that they ran out. Mostly of none. */
export function graceWords(
  graces: Pick<Graces, 'longest' | 'cover'>,
  keys: readonly Buffer[],
): { longestGrace?: number; graced?: string } {
  const longestGrace = graces.longest;
  if (longestGrace === 0) return {};
  const graced = keys.map((key) => (graces.cover(key) ? '1' : '0'));
  return { longestGrace, graced: graced.join('') };
}

function gracedOf(handlers: Iterable<KnownHandler>): GracedPattern[] {
  const graced = new Map<string, GracedPattern>();
  for (const { glob, grace = 0 } of handlers) {
    const known = graced.get(glob.pattern)?.grace ?? 0;
    if (grace > known) graced.set(glob.pattern, { glob, grace });
  }
  return [...graced.values()];
}
