import type { Socket } from 'node:net';
import type { Redis } from 'ioredis';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';
import { isReplyError } from './server-error.js';
import { Watchdog } from './watchdog.js';

/** A client that is not connected yet, or the promise of one. */
export type Opening = Redis | Promise<Redis>;

/** The connection closed before commands were answered: they may be sent again on the next one. */
export class ConnectionLost extends Error {}

/** Who a `Connection` belongs to. */
export interface ConnectionOwner {
  /** Ms within which the connection must be usable. */
  readonly connectTimeout: number;
  /** The connection is usable from now on. */
  readonly onReady: () => void;
  /** The connection came to its end by itself. `why` is a `ConnectionLost` where it closed. */
  readonly onLost: (why: Error) => void;
}

/**
 * One connection of a `CommandClient`: it is made once, works for a while, and ends once.
 *
 * States:
 * - *making* (at first): a client is made, which the user's function may take its time for. Ends where that fails.
 * - *connecting*: the client connects and logs in. Leaves by its `ready`, or ends after `connectTimeout`, because ioredis times the TCP connection only, not the handshake that follows.
 * - *ready*: commands are sent, and a watchdog pings. Ends by a close, by silence, or by `fail`.
 * - *ended*: commands under way have rejected, and the client is closed. An end that nobody asked for
 *   is told to the owner; `end` tells nobody.
 */
export class Connection {
  /** What is under way ends with it. */
  readonly #life = new Lifetime();
  /** Undefined until it was made. */
  #client: Redis | undefined;
  #watchdog: Watchdog | undefined;
  #handshake: NodeJS.Timeout | undefined;

  /** @param open makes a client, which is not connected yet, and never connects a second time. Settles by itself. */
  constructor(
    open: () => Opening,
    private readonly owner: ConnectionOwner,
  ) {
    void this.#make(open);
  }

  async #make(open: () => Opening): Promise<void> {
    try {
      // Not at once: what it throws must not be told before the owner has this connection.
      const client = await Promise.resolve().then(open);
      if (!this.ended) this.#connect(client);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #connect(client: Redis): void {
    this.#client = client;
    let error: Error | undefined;
    client.on('error', (reason: Error) => (error = reason));
    client.on('ready', () => {
      // A database that does not exist, say: ioredis goes on without it.
      if (isReplyError(error)) this.fail(error);
      else this.#arrive(client);
    });
    client.on('end', () => {
      const reason = error ? reasonOf(error) : 'the connection closed';
      this.fail(new ConnectionLost(reason, { cause: error }));
    });
    client.connect().catch(() => undefined);
    const { connectTimeout } = this.owner;
    this.#handshake = setTimeout(
      () => this.fail(new Error(`not connected within ${connectTimeout} ms`)),
      connectTimeout,
    ).unref();
  }

  /** Whether it works, as far as the client knows. */
  get isUsable(): boolean {
    return this.#client?.status === 'ready';
  }

  /** How many answers are waited for. */
  get waiting(): number {
    return this.#life.waiting;
  }

  /** Why it ended; undefined while it has not. */
  get ended(): Error | undefined {
    return this.#life.ended;
  }

  /** The address that it leads to, as the system tells it; undefined while it is not usable. */
  get peer(): string | undefined {
    return this.#client && peerOf(this.#client);
  }

  /** Runs commands, once it is ready. Rejects with their error, or with the reason of the end. */
  send<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    return this.#life.guard(work(this.#client!));
  }

  /** Ends it, and tells its owner. */
  fail(why: Error): void {
    if (this.ended) return;
    this.end(why);
    this.owner.onLost(why);
  }

  /** Ends it; commands under way reject with the reason. */
  end(why: Error): void {
    clearTimeout(this.#handshake);
    this.#watchdog?.stop();
    if (this.#client) disconnect(this.#client);
    this.#life.end(why);
  }

  #arrive(client: Redis): void {
    clearTimeout(this.#handshake);
    this.#watchdog = new Watchdog({
      ping: () => client.ping(),
      onSilence: (error) => this.fail(error),
    });
    this.owner.onReady();
  }
}

/** The address that a client is connected to, as the system tells it; undefined while it is not. */
export function peerOf(client: Redis): string | undefined {
  if (client.status !== 'ready') return undefined;
  const { remoteAddress, remotePort } = client.stream as Partial<Socket>;
  return `${remoteAddress?.replace(/^::ffff:/, '')}:${remotePort}`;
}

/** Closes a client for good, also where the peer no longer answers; its errors go unheard from now on. */
export function disconnect(client: Redis): void {
  // It has ended: ioredis would wait two seconds for a socket that is closed already.
  if (client.status === 'end') return;
  client.removeAllListeners();
  client.on('error', () => undefined);
  client.disconnect();
  client.stream?.destroy();
}
