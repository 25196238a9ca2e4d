import type { DeadlineEntry } from '../deadlines/deadline-index.js';
import { RedisClock } from '../deadlines/redis-clock.js';
import type { RedisNode } from '../topology/redis-node.js';
import { Forwarder } from './forwarder.js';
import type { Fate, ForwardingTerm } from './forwarding-term.js';
import type { Destinations } from './key-finder.js';
import type { OnlyNode } from './only-node.js';

/**
 * Hands on what a partition has, while another one watches the node that serves it. Each `LeaderTerm` on a Cluster
 * has one.
 *
 * States: new → `start` → idle ⇄ draining, as the partitions and the slots change → stopped, by `stop`.
 */
export class Drain {
  #unfollow: (() => void) | undefined;
  #forwarder: Forwarder | undefined;
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
    this.#forwarder?.stop();
  }

  #follow(): void {
    const { home, isDrained } = this.only;
    const node = isDrained ? home : undefined;
    if (node?.address === this.#node?.address) return;
    this.#node = node;
    this.#forwarder?.stop();
    this.#forwarder = undefined;
    if (!node) return;
    const { token, keys, log } = this.term;
    const term: ForwardingTerm = {
      ...{ token, keys, log, clock: new RedisClock() },
      commands: (connection) => this.term.commands(connection),
      due: () => undefined,
      fateOf: this.fateOf,
    };
    this.#forwarder = new Forwarder(term, node, this.destinations, true);
    this.#forwarder.start();
  }
}
