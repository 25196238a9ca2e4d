import { setTimeout as delay } from 'node:timers/promises';
import { names } from '../group/history.js';
import type { TrackedKeys } from '../group/tracked-keys.js';
import { Random } from '../random.js';

export interface TrafficOptions {
  /** Keys that are kept alive to the end. */
  readonly beating?: readonly string[];
  /** Keys that are deleted bit by bit. */
  readonly deleting?: readonly string[];
  /** From how many to how many ms a new key lives, of which there are some all the while. */
  readonly fresh: readonly [from: number, to: number];
}

/** Ms that a key lives without a heartbeat. */
const TTL = 3_500;
/** Ms in which what is to be deleted must be, or it runs out. */
const DOOM = 12_000;
/** So many ms before that nothing is deleted any more: on a busy machine it may run out first. */
const DOOM_MARGIN = 2_000;
/** Ms between two rounds; how many keys are new in each. */
const ROUND = 100;
const FRESH = 15;
const FRESH_PREFIX = 'fresh';

/** What other clients do all the while: heartbeats, keys that come and run out, and keys that are deleted. */
export class Traffic {
  /** Keys that ran out though they were kept alive: their server was away for too long. */
  readonly lapsed = new Set<string>();
  readonly #random = new Random(1);
  #deleting: string[];
  /** When what was not deleted runs out. */
  #doom = Infinity;
  #isHeld: (key: string) => boolean = () => false;
  /** The newest of the keys that come all the while. */
  newest: readonly string[] = [];
  #made = 0;
  #round: Promise<void> = Promise.resolve();
  #ended = false;
  #running: Promise<void> | undefined;

  constructor(
    private readonly keys: TrackedKeys,
    private readonly options: TrafficOptions,
  ) {
    this.#deleting = [...(options.deleting ?? [])];
  }

  /** Writes the keys that are to be kept alive, and those that are to be deleted. */
  async write(): Promise<void> {
    const { beating = [] } = this.options;
    const now = Date.now();
    await this.keys.set(beating.map((key) => [key, now + TTL]));
    this.#doom = now + DOOM;
    await this.keys.set(this.#deleting.map((key) => [key, this.#doom]));
  }

  /** Goes on until `end`. */
  begin(): void {
    this.#running = this.#run();
    this.#running.catch(() => undefined);
  }

  /** Leaves these keys alone from now on: when it resolves, nothing of theirs is under way. */
  async hold(isHeld: (key: string) => boolean): Promise<void> {
    this.#isHeld = isHeld;
    await this.#round;
  }

  /** Whether a key is one of those that come all the while. */
  isFresh(key: string): boolean {
    return key.startsWith(FRESH_PREFIX);
  }

  /** Leaves no key alone any more. */
  release(): void {
    this.#isHeld = () => false;
  }

  /** Stops, and deletes all that is left to be deleted; what is about to run out runs out. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#running;
    this.release();
    await this.#delete(this.#deleting.length);
  }

  async #run(): Promise<void> {
    for (let round = 1; !this.#ended; round++) {
      this.#round = this.#go(round);
      await this.#round;
      await delay(ROUND);
    }
  }

  async #go(round: number): Promise<void> {
    await this.#makeFresh();
    await this.#delete(2);
    if (round % 3 === 0) await this.#beat();
  }

  async #makeFresh(): Promise<void> {
    const [from, to] = this.options.fresh;
    const now = Date.now();
    const fresh = names(`${FRESH_PREFIX}${++this.#made}:`, FRESH).filter(
      (key) => !this.#isHeld(key),
    );
    if (fresh.length === 0) return;
    this.newest = fresh;
    await this.keys.set(
      fresh.map((key) => [key, now + from + this.#random.below(to - from)]),
    );
  }

  async #beat(): Promise<void> {
    const { beating = [] } = this.options;
    const alive = beating.filter(
      (key) => !this.#isHeld(key) && !this.lapsed.has(key),
    );
    const deadline = Date.now() + TTL;
    const lapsed = await this.keys.tryToRenew(
      alive.map((key) => [key, deadline]),
    );
    for (const key of lapsed) this.lapsed.add(key);
  }

  async #delete(count: number): Promise<void> {
    if (Date.now() > this.#doom - DOOM_MARGIN) return;
    const free = this.#deleting.filter((key) => !this.#isHeld(key));
    const some = free.slice(0, count);
    this.#deleting = this.#deleting.filter((key) => !some.includes(key));
    await this.keys.delete(some);
  }
}
