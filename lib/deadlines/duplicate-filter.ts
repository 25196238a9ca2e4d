import { Generations } from './generations.js';

/** Ms in which a server may repeat what the one before it told. A scan of a million keys takes about five seconds. */
const REPEATING = 10_000;

/**
 * Remembers which expiries one node told lately, where another server may stand in its place before
 * that is noticed: then both hold a key as primaries when it is due, and the new one tells its expiry
 * too, when it comes to it.
 *
 * A repeat is an expiry that the server before told shortly before its connection was lost, of a key
 * that is not known to live and was not created since. So one of a key that was created on the new
 * server before that was listened to, and that ran out before a scan came to it, may be taken for one.
 */
export class DuplicateFilter {
  /** When each key was told, in ms. */
  readonly #told = new Generations<number>();
  #turnedAt = 0;
  #lostAt: number | undefined;
  /** What was told from then on until the server was replaced may be repeated. */
  #from = Infinity;
  #replacedAt = -Infinity;

  /** `within`: ms for which another server may have stood there unnoticed. `now`: a clock in ms. */
  constructor(
    private readonly within: number,
    private readonly now = (): number => performance.now(),
  ) {}

  /** Listening was lost, or failed once more. */
  lost(): void {
    this.#lostAt ??= this.now();
  }

  /** What is told from here on, another server tells. */
  replaced(): void {
    const now = this.now();
    this.#from = (this.#lostAt ?? now) - this.within;
    this.#replacedAt = now;
    if (now >= this.#turnedAt + this.within) this.#turn(now);
  }

  listening(): void {
    this.#lostAt = undefined;
  }

  /** The key was created: its next expiry is none that was told. */
  forget(key: Buffer): void {
    this.#told.delete(key);
  }

  /** An expiry was heard: whether it is a repeat. `isKnown`: the key was known to live. */
  repeats(key: Buffer, isKnown: boolean): boolean {
    const now = this.now();
    // Nothing is forgotten as long as it may be repeated.
    const repeating = now < this.#replacedAt + REPEATING;
    if (!repeating && now >= this.#turnedAt + this.within) this.#turn(now);
    const at = this.#told.get(key) ?? -Infinity;
    this.#told.set(key, now);
    return repeating && !isKnown && this.#from <= at && at < this.#replacedAt;
  }

  #turn(now: number): void {
    this.#told.turn();
    this.#turnedAt = now;
  }
}
