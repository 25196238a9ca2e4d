import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { FlagKeeper, type NotificationsMode } from './flag-keeper.js';
import type { RedisNode } from '../topology/redis-node.js';
import type { SubscriptionRegistry } from './subscription-registry.js';
import type { Topology } from '../topology/topology.js';

/** Ms between two looks at the replicas' flags. */
const INTERVAL = 5_000;

/**
 * Sees to it that replicas have the flags that their primaries have: Redis does not replicate its
 * configuration, and one that is promoted must announce expiries from its first moment on.
 */
export class ReplicaPreparation {
  /** What was completed on each replica, by address. */
  readonly #prepared = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #started = false;
  #busy = false;

  constructor(
    private readonly topology: Pick<Topology, 'replicas'>,
    private readonly registry: Pick<SubscriptionRegistry, 'neededFlags'>,
    private readonly mode: NotificationsMode,
    private readonly log: Log,
  ) {}

  start(): void {
    if (this.mode !== 'ensure') return;
    this.#started = true;
    this.#timer ??= setInterval(() => {
      this.#prepared.clear();
      this.now();
    }, INTERVAL).unref();
    this.now();
  }

  close(): void {
    this.#started = false;
    clearInterval(this.#timer);
  }

  /** There may be new replicas, or new flags that are needed. */
  now(): void {
    if (this.#busy || !this.#started) return;
    this.#busy = true;
    void this.#prepareAll().finally(() => (this.#busy = false));
  }

  async #prepareAll(): Promise<void> {
    await Promise.all(
      this.topology.replicas.map((replica) => this.#prepare(replica)),
    );
  }

  async #prepare({ address, commands }: RedisNode): Promise<void> {
    const needed = this.registry.neededFlags();
    const wanted = [...needed.letters, needed.wanted].join('');
    if (this.#prepared.get(address) === wanted) return;
    try {
      const keeper = new FlagKeeper(this.mode, commands, address, this.log);
      const flags = await keeper.read();
      // What `A` hides cannot be found out without writing a key, which a replica refuses: kept as it is.
      if (flags && !(flags.hides && flags.announcesExpiry))
        await keeper.complete(flags, needed, '');
      this.#prepared.set(address, wanted);
    } catch (error) {
      this.log.debug(`${address}: preparing it failed: ${reasonOf(error)}`);
    }
  }
}
