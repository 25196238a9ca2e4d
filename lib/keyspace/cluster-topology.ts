import type { Cluster, Redis } from 'ioredis';
import { ownClientOptions } from '../connection/client-options.js';
import { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { RedisExpiryError } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import { KeyCheck } from './key-check.js';
import type { RedisNode } from './redis-node.js';
import { Signal } from './signal.js';
import type { Topology } from './topology.js';

/** Ms between two looks at who the primaries are, besides those that the client's own events prompt. */
const LOOK = 30_000;

/** Every primary of a Cluster: each announces the expiries of its own slots and no others. */
export class ClusterTopology implements Topology {
  readonly keys: KeyCheck;
  readonly #cluster: Cluster;
  readonly #nodes = new Map<string, RedisNode>();
  readonly #callbacks = new Set<() => void>();
  readonly #found = new Signal();
  #started: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    private readonly target: ConnectionTarget,
    private readonly name: string,
    private readonly log: Log,
  ) {
    this.#cluster = this.#duplicate();
    this.#cluster.on('error', (error: Error) =>
      log.debug(`Cluster: ${error.message}`),
    );
    this.keys = new KeyCheck(async (keys) => {
      if (this.#closed)
        throw new RedisExpiryError('CLOSED', 'The connection was closed.');
      const replies = await Promise.all(
        keys.map((key) => this.#cluster.exists(key)),
      );
      return new Set(replies.flatMap((exists, i) => (exists ? [i] : [])));
    }, log);
  }

  get nodes(): readonly RedisNode[] {
    return [...this.#nodes.values()];
  }

  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  async #start(): Promise<void> {
    const look = (): void => {
      if (!this.#look()) return;
      this.#found.fire();
      for (const callback of this.#callbacks) callback();
    };
    this.#cluster.on('+node', look).on('-node', look).on('ready', look);
    this.#timer = setInterval(look, LOOK).unref();
    // A Cluster that cannot be reached is tried again for ever; whoever starts has a deadline.
    this.#cluster.connect().catch(() => undefined);
    while (this.#nodes.size === 0 && !this.#closed) await this.#found.next();
  }

  openCommands(): CommandClient {
    const { retryDelay, connectTimeout } = this.target;
    return new CommandClient({
      // It has a client's commands, states and events, which is all that is used of it.
      open: () => this.#duplicate() as unknown as Redis,
      connectTimeout,
      retryDelay,
      log: this.log,
    });
  }

  close(): void {
    this.#closed = true;
    this.#found.fire();
    clearInterval(this.#timer);
    this.#cluster.removeAllListeners();
    this.#cluster.on('error', () => undefined);
    this.#cluster.disconnect();
    for (const node of this.#nodes.values()) node.commands.close();
  }

  #duplicate(): Cluster {
    const template = this.target.template as Cluster;
    const own = ownClientOptions(this.name);
    return template.duplicate([], {
      ...template.options,
      keyPrefix: '',
      lazyConnect: true,
      scaleReads: 'master',
      enableAutoPipelining: false,
      clusterRetryStrategy: this.target.retryDelay,
      redisOptions: { ...template.options.redisOptions, ...own },
    });
  }

  /** Makes the nodes those that are primaries now; whether that changed anything. */
  #look(): boolean {
    const primaries = new Map(
      this.#cluster
        .nodes('master')
        .map((node) => [`${node.options.host}:${node.options.port}`, node]),
    );
    // Between two connections the client knows of nobody, which says nothing about the Cluster.
    if (this.#closed || primaries.size === 0) return false;
    let changed = false;
    for (const [address, node] of this.#nodes) {
      if (primaries.has(address)) continue;
      node.commands.close();
      this.#nodes.delete(address);
      changed = true;
    }
    for (const [address, client] of primaries) {
      if (this.#nodes.has(address)) continue;
      this.#nodes.set(address, this.#toNode(address, client));
      changed = true;
    }
    return changed;
  }

  #toNode(address: string, client: Redis): RedisNode {
    const { retryDelay, connectTimeout } = this.target;
    const own = ownClientOptions(this.name);
    return {
      address,
      commands: new CommandClient({
        open: () => client.duplicate({ ...own, retryStrategy: retryDelay }),
        connectTimeout,
        retryDelay,
        log: this.log,
      }),
      openListener: () => client.duplicate({ ...own, retryStrategy: null }),
    };
  }
}
