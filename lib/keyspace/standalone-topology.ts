import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { ownClientOptions } from '../connection/client-options.js';
import { CommandClient, peerOf } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import type { Log } from '../log.js';
import { KeyCheck } from './key-check.js';
import type { RedisNode } from './redis-node.js';
import { SentinelScout } from './sentinel-scout.js';
import type { Moves, Topology } from './topology.js';

/** Ms after a failover at which connections are looked at once more. */
const AGAIN = 1_000;
/** Ms by which a primary may be replaced before its Sentinels say so. */
const SENTINELS_DELAY = 3_000;

/**
 * One server, named by its address or found by Sentinels. They name the primary at every connection;
 * when they name another one, every connection is made anew.
 */
export class StandaloneTopology implements Topology {
  readonly nodes: readonly RedisNode[];
  readonly replicas: readonly RedisNode[] = [];
  readonly lastError = undefined;
  readonly keys: KeyCheck;
  readonly #commands: CommandClient;
  readonly #clients = new Set<CommandClient>();
  readonly #listeners = new Set<Redis>();
  readonly #callbacks = new Set<(moves: Moves) => void>();
  readonly #scout: SentinelScout | undefined;

  constructor(
    private readonly target: ConnectionTarget,
    private readonly name: string,
    private readonly log: Log,
  ) {
    const { options } = this.#template;
    this.#commands = this.openCommands();
    const bySentinels =
      options.sentinels !== undefined && options.sentinels !== null;
    if (bySentinels)
      this.#scout = new SentinelScout(
        () => ({ ...this.#template.options, connectionName: name }),
        (address) => {
          this.#reconnect(address);
          // Whoever connects in this moment may be sent to the old one by a Sentinel that lags.
          setTimeout(() => this.#reconnect(address), AGAIN).unref();
        },
        log,
      );
    this.nodes = [
      {
        address: addressOf(this.#template),
        commands: this.#commands,
        noticedAfter: bySentinels ? SENTINELS_DELAY : 0,
        openListener: () => this.#openListener(),
        keyWith: (prefix) => prefix + randomUUID(),
      },
    ];
    this.keys = new KeyCheck((keys) => aliveKeys(this.#commands, keys), log);
  }

  nodeOf(): RedisNode {
    return this.nodes[0]!;
  }

  redirect(): undefined {
    return undefined;
  }

  start(): Promise<void> {
    this.#scout?.start();
    return Promise.resolve();
  }

  onChange(callback: (moves: Moves) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  doubt(): void {
    // There is only this one; who the primary is, Sentinels are asked anyhow.
  }

  openCommands(): CommandClient {
    const { connectTimeout, retryDelay } = this.target;
    const client = new CommandClient({
      open: () => this.#open(),
      connectTimeout,
      retryDelay,
      log: this.log,
    });
    this.#clients.add(client);
    return client;
  }

  close(): void {
    this.#scout?.close();
    this.#commands.close();
  }

  /** What the user's client or options say now. */
  get #template(): Redis {
    return this.target.template() as Redis;
  }

  /** Makes a client that is not connected yet, and connects once. */
  #open(): Redis {
    return this.#template.duplicate({
      ...ownClientOptions(this.name),
      // The channels that are listened to are named by it.
      db: this.target.database,
    });
  }

  #openListener(): Redis {
    for (const listener of this.#listeners)
      if (listener.status === 'end') this.#listeners.delete(listener);
    const client = this.#open();
    this.#listeners.add(client);
    return client;
  }

  /** Whatever is connected to another server than this is connected to the wrong one; what waits need not wait. */
  #reconnect(address: string): void {
    for (const client of this.#clients)
      if (client.closed) this.#clients.delete(client);
      else if (client.peer === undefined) client.wake();
      else if (client.peer !== address)
        client.reopen('another server is the primary now');
    for (const listener of this.#listeners) {
      const peer = peerOf(listener);
      if (peer !== undefined && peer !== address) listener.disconnect();
    }
    for (const callback of this.#callbacks) callback(new Map());
  }
}

/** One command while all are gone, which is the common case; else one more for each. */
async function aliveKeys(
  commands: CommandClient,
  keys: readonly Buffer[],
): Promise<ReadonlySet<number>> {
  const count = await commands.run((redis) => redis.exists(...keys));
  if (count === 0) return new Set();
  const replies = await commands.run((redis) =>
    Promise.all(keys.map((key) => redis.exists(key))),
  );
  return new Set(replies.flatMap((exists, i) => (exists ? [i] : [])));
}

function addressOf({ options }: Redis): string {
  if (options.sentinels) return `sentinel:${options.name}`;
  return options.path ?? `${options.host}:${options.port}`;
}
