import { randomUUID } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import type { Redis } from 'ioredis';
import { ownClientOptions } from '../connection/client-options.js';
import { CommandClient } from '../connection/command-client.js';
import { peerOf } from '../connection/connection.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { isForbidden, refusedCommand } from '../connection/server-error.js';
import type { Log } from '../util/log.js';
import { SoonestTimer } from '../util/soonest-timer.js';
import { within } from '../util/within.js';
import type { KeyQuestion } from './cluster-keys.js';
import { hostAndPort } from './cluster-view.js';
import { KeyCheck } from './key-check.js';
import { deadlineOf } from './key-deadlines.js';
import type { RedisNode } from './redis-node.js';
import { SentinelScout } from './sentinel-scout.js';
import type { Moves, Topology } from './topology.js';

/** Ms after a failover until connections are looked at once more. */
const SECOND_LOOK_DELAY_MS = 1_000;
/** Ms within which the name of a primary must be resolved. */
const LOOKUP_TIMEOUT_MS = 1_000;
/** Ms by which a primary may be replaced before its Sentinels say so. */
const SENTINELS_DELAY_MS = 3_000;

/**
 * One server, named by its address or found by Sentinels. The engine makes one for every connection option
 * that does not name a Cluster. Sentinels name the primary at every connection; when they name another
 * one, each connection that leads elsewhere is made anew, and once more a second later, because a
 * Sentinel that lags may have sent it back to the old primary.
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
  readonly #secondLook = new SoonestTimer(() => this.#reconnect());
  /** The primary that Sentinels named last, and the addresses that its name stands for, as far as they are known. */
  #primary: string | undefined;
  #peers: ReadonlySet<string> = new Set();
  #closed = false;

  constructor(
    private readonly target: ConnectionTarget,
    private readonly name: string,
    private readonly log: Log,
  ) {
    const { options } = target.first as Redis;
    this.#commands = this.openCommands();
    const bySentinels =
      options.sentinels !== undefined && options.sentinels !== null;
    if (bySentinels)
      this.#scout = new SentinelScout(
        { ...options, connectionName: name },
        async () => (await this.#template()).options,
        (address) => void this.#moveTo(address),
        log,
      );
    this.nodes = [
      {
        address: addressOf(target.first as Redis),
        inCluster: false,
        commands: this.#commands,
        noticedAfter: bySentinels ? SENTINELS_DELAY_MS : 0,
        openListener: () => this.#openListener(),
        keyWith: (prefix) => prefix + randomUUID(),
      },
    ];
    this.keys = new KeyCheck(
      {
        alive: (keys, onDenied) => aliveKeys(this.#commands, keys, onDenied),
        deadlines: (keys, onDenied) =>
          askEach(this.#commands, keys, {
            ...{ ask: deadlineOf, forbidden: 'unknown', onDenied },
          }),
      },
      log,
    );
  }

  nodeOfSlot(): RedisNode {
    return this.nodeOf();
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
    // There is only one node; Sentinels are asked who the primary is anyhow.
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
    this.#closed = true;
    this.#scout?.close();
    this.#secondLook.stop();
    this.#commands.close();
  }

  /** What the user's client, options or function say now. */
  async #template(): Promise<Redis> {
    return (await this.target.template()) as Redis;
  }

  /** Makes a client that is not connected yet, and connects once. */
  async #open(): Promise<Redis> {
    const template = await this.#template();
    const sentinels = this.#scout?.sentinels ?? [];
    return template.duplicate({
      ...ownClientOptions(this.name),
      // Those that were learnt of, too, and first those that know best.
      ...(sentinels.length > 0 && { sentinels }),
      // The channels that are listened to are named by it.
      db: this.target.database,
    });
  }

  async #openListener(): Promise<Redis> {
    for (const listener of this.#listeners)
      if (listener.status === 'end') this.#listeners.delete(listener);
    const client = await this.#open();
    this.#listeners.add(client);
    return client;
  }

  /** Another primary was named: all connections are to lead there. */
  async #moveTo(address: string): Promise<void> {
    this.#primary = address;
    const peers = await peersAt(address);
    // Several Sentinels may name it in one moment, and one that lags may not.
    if (this.#closed || this.#primary !== address) return;
    this.#peers = peers;
    this.#reconnect();
    // Whoever connects in this moment may be sent to the old one by a Sentinel that lags.
    this.#secondLook.cancel();
    this.#secondLook.within(SECOND_LOOK_DELAY_MS);
  }

  /** Replaces each connection that leads to another server than the primary; one that waits for its next try need not wait. */
  #reconnect(): void {
    const primary = this.#peers;
    for (const client of this.#clients)
      if (client.closed) this.#clients.delete(client);
      else if (client.peer === undefined) client.wake();
      else if (!primary.has(client.peer))
        client.reopen('another server is the primary now');
    for (const listener of this.#listeners) {
      const peer = peerOf(listener);
      if (peer !== undefined && !primary.has(peer)) listener.disconnect();
    }
    for (const callback of this.#callbacks) callback(new Map());
  }
}

/**
 * The addresses of a server as the system tells them of whoever is connected to it: Sentinels may
 * name it by a host name. None where the name cannot be resolved: who is connected to it is not known then.
 */
async function peersAt(address: string): Promise<ReadonlySet<string>> {
  const { host, port } = hostAndPort(address);
  const found: string[] = [];
  await within(
    LOOKUP_TIMEOUT_MS,
    lookup(host, { all: true }).then((all) => {
      for (const each of all) found.push(`${each.address}:${port}`);
    }),
  ).catch(() => undefined);
  return new Set(found);
}

/**
 * Resolves with the indexes of the keys that exist. One command tells that all are gone, which is the common
 * case; else one more is sent for each key, as the server refuses the whole for one key that its ACL forbids.
 */
async function aliveKeys(
  commands: CommandClient,
  keys: readonly Buffer[],
  onDenied: (error: unknown) => void,
): Promise<ReadonlySet<number>> {
  const count = await commands
    .run((redis) => redis.exists(...keys))
    .catch((error: unknown) => {
      // It is the command that may not be used, whatever the key.
      if (!isForbidden(error) || refusedCommand(error)) throw error;
      return undefined;
    });
  if (count === 0) return new Set();
  const replies = await askEach(commands, keys, {
    ask: (redis, key) => redis.exists(key),
    ...{ forbidden: 0, onDenied },
  });
  return new Set(replies.flatMap((exists, i) => (exists ? [i] : [])));
}

/** Asks for each key by a command of its own. */
function askEach<T>(
  commands: CommandClient,
  keys: readonly Buffer[],
  { ask, forbidden, onDenied }: KeyQuestion<T>,
): Promise<T[]> {
  return commands.run((redis) =>
    Promise.all(
      keys.map((key) =>
        ask(redis, key).catch((error: unknown) => {
          if (!isForbidden(error)) throw error;
          onDenied(error);
          return forbidden;
        }),
      ),
    ),
  );
}

function addressOf({ options }: Redis): string {
  if (options.sentinels) return `sentinel:${options.name}`;
  return options.path ?? `${options.host}:${options.port}`;
}
