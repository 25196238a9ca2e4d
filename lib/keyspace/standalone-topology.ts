import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { ownClientOptions } from '../connection/client-options.js';
import { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import type { Log } from '../log.js';
import { KeyCheck } from './key-check.js';
import type { RedisNode } from './redis-node.js';
import type { Topology } from './topology.js';

/** One server, named by its address or found by Sentinels, who name the primary at every connection. */
export class StandaloneTopology implements Topology {
  readonly nodes: readonly RedisNode[];
  readonly replicas: readonly RedisNode[] = [];
  readonly lastError = undefined;
  readonly keys: KeyCheck;
  readonly #commands: CommandClient;
  readonly #open: () => CommandClient;

  constructor(target: ConnectionTarget, name: string, log: Log) {
    const template = target.template as Redis;
    this.#open = () =>
      new CommandClient({
        open: () =>
          template.duplicate({
            ...ownClientOptions(name),
            retryStrategy: target.retryDelay,
          }),
        connectTimeout: target.connectTimeout,
        retryDelay: target.retryDelay,
        log,
      });
    this.#commands = this.#open();
    this.nodes = [
      {
        address: addressOf(template),
        commands: this.#commands,
        openListener: () =>
          template.duplicate({
            ...ownClientOptions(name),
            retryStrategy: null,
          }),
        keyWith: (prefix) => prefix + randomUUID(),
      },
    ];
    this.keys = new KeyCheck((keys) => aliveKeys(this.#commands, keys), log);
  }

  nodeOf(): RedisNode {
    return this.nodes[0]!;
  }

  follow(answer: Error): Promise<never> {
    return Promise.reject(answer);
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  onChange(): () => void {
    return () => undefined;
  }

  doubt(): void {
    // There is only this one; who the primary is, Sentinels say at every connection.
  }

  openCommands(): CommandClient {
    return this.#open();
  }

  close(): void {
    this.#commands.close();
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
