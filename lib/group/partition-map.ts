import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import type { PartitionRegistry } from './partition-registry.js';
import type { PartitionName, PartitionTags } from './partition-tags.js';

/** Ms between two readings of the list, and so until a partition that another instance added is known. */
const INTERVAL_MS = 2_000;
/** Ms until the list is read again after that failed. */
const RETRY_MS = 250;

/**
 * Which partitions a group on a Cluster has now, and which of them watches which node. Each instance has one: it
 * follows the list and the topology, and adds the partition of a primary that has none.
 *
 * States: new → `start` → following → stopped, by `stop`.
 *
 * Guarantees: a change of the topology is taken up at once, one of the list within 2 s. What cannot be read or
 * written is tried again, and meanwhile what was known counts.
 */
export class PartitionMap {
  #names: readonly PartitionName[] = [];
  readonly #timer = new SoonestTimer(() => this.#follow());
  readonly #callbacks = new Set<() => void>();
  #unfollow: (() => void) | undefined;
  #isStopped = false;

  constructor(
    private readonly registry: Pick<PartitionRegistry, 'read' | 'add'>,
    private readonly tags: PartitionTags,
    private readonly topology: Pick<Topology, 'onChange'>,
    private readonly log: Log,
  ) {}

  /** The partitions in use, by number: the home partition is the first one. Empty before `start`. */
  get names(): readonly PartitionName[] {
    return this.#names;
  }

  /** The partition that watches the node with this address; undefined while there is none. */
  watchingAt(address: string): PartitionName | undefined {
    return this.tags.watching(this.#names).get(address);
  }

  /** Whether another partition watches the node that serves this one. */
  isDrained(name: PartitionName): boolean {
    const address = this.tags.nodeOf(name);
    if (address === undefined) return false;
    const watching = this.watchingAt(address);
    return watching !== undefined && watching.number !== name.number;
  }

  /** Reads the list, adds what is missing, and goes on to follow. Rejects as the commands do, and may be called again. */
  async start(): Promise<void> {
    await this.#update();
    if (this.#isStopped) return;
    this.#unfollow ??= this.topology.onChange(() => {
      // What each of them watches may be another node by now.
      this.#tell();
      this.#timer.within(0);
    });
    this.#timer.within(INTERVAL_MS);
  }

  /** Calls back whenever the partitions, or what they watch, may have changed, until the function that it returns is called. */
  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  /** Reads the list soon: this instance took a partition off it, for example. */
  refresh(): void {
    if (this.#unfollow) this.#timer.within(0);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer.stop();
    this.#unfollow?.();
    this.#callbacks.clear();
  }

  async #follow(): Promise<void> {
    try {
      await this.#update();
      this.#timer.within(INTERVAL_MS);
    } catch (error) {
      this.log.debug(`The partitions cannot be read: ${reasonOf(error)}`);
      this.#timer.within(RETRY_MS);
    }
  }

  async #update(): Promise<void> {
    const listed = await this.registry.read();
    const missing = this.tags.missing(listed);
    await this.registry.add(missing);
    const names = [...listed, ...missing].toSorted(
      (a, b) => a.number - b.number,
    );
    const isSame =
      names.length === this.#names.length &&
      names.every(({ number }, i) => number === this.#names[i]!.number);
    this.#names = names;
    if (!isSame) this.#tell();
  }

  #tell(): void {
    if (this.#isStopped) return;
    for (const callback of this.#callbacks) callback();
  }
}
