import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Forwarder } from './forwarder.js';
import type { Fate, ForwardingTerm } from './forwarding-term.js';
import type { Destinations } from './key-finder.js';
import { forwarderOfWarnings } from './group-warnings.js';
import type { OnlyNode } from './only-node.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { SoonestTimer } from '../util/soonest-timer.js';

/** Ms between two looks which warnings there are to hand on. */
const LOOK_MS = 1_000;

/**
 * Hands on what a partition has, while another one watches the node that serves it. Each `LeaderTerm` on a Cluster
 * has one.
 *
 * States: new → `start` → idle ⇄ draining, as the partitions and the slots change → stopped, by `stop`.
 */
export class Drain {
  #unfollow: (() => void) | undefined;
  #forwarder: Forwarder | undefined;
  /** Those of warnings, by `before`. */
  readonly #warnings = new Map<number, Forwarder>();
  readonly #timer = new SoonestTimer(() => this.#lookForWarnings());
  #node: RedisNode | undefined;

  constructor(
    private readonly term: Pick<
      ForwardingTerm,
      'token' | 'keys' | 'log' | 'commands'
    >,
    private readonly only: OnlyNode,
    private readonly destinations: Destinations,
    private readonly fateOf: (entry: DeadlineEntry) => Fate,
  ) {}

  start(): void {
    this.#unfollow = this.only.onChange(() => this.#follow());
    this.#follow();
  }

  stop(): void {
    this.#unfollow?.();
    this.#timer.stop();
    this.#end();
  }

  #follow(): void {
    const { home, isDrained } = this.only;
    const node = isDrained ? home : undefined;
    if (node?.address === this.#node?.address) return;
    this.#node = node;
    this.#end();
    if (!node) return;
    const term = { ...this.#forwardingTerm, fateOf: this.fateOf };
    this.#forwarder = new Forwarder(term, node, this.destinations, true);
    this.#forwarder.start();
    this.#timer.within(0);
  }

  #end(): void {
    this.#forwarder?.stop();
    this.#forwarder = undefined;
    for (const forwarder of this.#warnings.values()) forwarder.stop();
    this.#warnings.clear();
    this.#timer.cancel();
  }

  get #forwardingTerm(): ForwardingTerm {
    const { token, keys, log } = this.term;
    return {
      ...{ token, keys, log, clock: new RedisClock() },
      commands: (connection) => this.term.commands(connection),
      due: () => undefined,
    };
  }

  async #lookForWarnings(): Promise<void> {
    const node = this.#node;
    if (!node) return;
    try {
      const { befores } = this.term.keys;
      const stored = await this.term
        .commands(node.commands)
        .runNow((redis) => redis.zrange(befores, '0', '-1'));
      if (node !== this.#node) return;
      for (const before of stored.map(Number))
        this.#drainWarnings(before, node);
    } catch (error) {
      this.term.log.debug(`Warnings are not handed on yet: ${reasonOf(error)}`);
    }
    this.#timer.within(LOOK_MS);
  }

  #drainWarnings(before: number, node: RedisNode): void {
    if (this.#warnings.has(before)) return;
    const forwarder = forwarderOfWarnings(
      ...([
        before,
        this.#forwardingTerm,
        node,
        this.destinations,
        true,
      ] as const),
    );
    this.#warnings.set(before, forwarder);
    forwarder.start();
  }
}
