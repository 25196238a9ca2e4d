import type { Cluster, Redis } from 'ioredis';
import type { History } from './history.js';

type Command = readonly [name: string, ...args: (string | number)[]];

/** Keys that are written through a client, and into the history. */
export class TrackedKeys {
  constructor(
    private readonly redis: Redis | Cluster,
    private readonly history: History,
  ) {}

  /** Writes keys, each with its own deadline in epoch ms; Redis took them when it resolves. */
  async set(entries: readonly (readonly [string, number])[]): Promise<void> {
    for (const [key, deadline] of entries) this.history.set(key, deadline);
    await this.#run(
      entries.map(([key, deadline]) => ['SET', key, '1', 'PXAT', deadline]),
    );
  }

  /** Writes keys again that ran out, soon enough for their handlers' grace. */
  async bringBack(
    entries: readonly (readonly [string, number])[],
    grace: number,
  ): Promise<void> {
    await this.#run(
      entries.map(([key, deadline]) => ['SET', key, '1', 'PXAT', deadline]),
    );
    for (const [key, deadline] of entries)
      this.history.returned(key, grace, deadline);
  }

  /** The same without a deadline. */
  async bringBackForGood(
    keys: readonly string[],
    grace: number,
  ): Promise<void> {
    await this.#run(keys.map((key) => ['SET', key, '1']));
    for (const key of keys) this.history.returned(key, grace);
  }

  /** Moves deadlines. The keys must live until then. */
  async renew(entries: readonly (readonly [string, number])[]): Promise<void> {
    const [late] = await this.tryToRenew(entries);
    if (late !== undefined)
      throw new Error(`${late} expired before its renewal`);
  }

  /** Moves the deadlines of those that live. Returns the others. */
  async tryToRenew(
    entries: readonly (readonly [string, number])[],
  ): Promise<string[]> {
    const kept = await this.#run(
      entries.map(([key, deadline]) => ['PEXPIREAT', key, deadline]),
    );
    return entries.flatMap(([key, deadline], i) => {
      if (kept[i] !== 1) return [key];
      this.history.renewed(key, deadline);
      return [];
    });
  }

  /** Deletes keys. One that expired before Redis got to it counts as expired. */
  async delete(keys: readonly string[]): Promise<void> {
    const deleted = await this.#run(keys.map((key) => ['DEL', key]));
    keys.forEach((key, i) => {
      if (deleted[i] === 1) this.history.ended(key);
    });
  }

  /** In a Cluster one by one: a pipeline goes to one node. */
  async #run(commands: readonly Command[]): Promise<unknown[]> {
    const { redis } = this;
    if (redis.isCluster)
      return Promise.all(commands.map((command) => redis.call(...command)));
    const pipeline = redis.pipeline();
    for (const command of commands) pipeline.call(...command);
    return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
      if (error) throw error;
      return reply;
    });
  }
}
