import type { Socket } from 'node:net';
import type { Redis } from 'ioredis';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../lifetime.js';
import type { Log } from '../log.js';
import {
  isElsewhere,
  isReadOnly,
  isReplyError,
  replyCode,
} from './server-error.js';
import { Watchdog } from './watchdog.js';

export interface CommandClientOptions {
  /** Makes a new client that is not connected yet and reconnects by itself. */
  readonly open: () => Redis;
  /** Ms within which a connection must be usable. */
  readonly connectTimeout: number;
  readonly retryDelay: (attempt: number) => number;
  /**
   * For a client that goes where some keys of a Cluster live, wherever `open` finds that to be: is
   * told that they seem to live elsewhere, or cannot be reached. What the server refused for that
   * reason is done again.
   */
  readonly onElsewhere?: () => void;
  readonly log: Log;
}

/** Ms before it is tried again. */
const AGAIN = 50;

/**
 * The connection for ordinary commands to one server. Connects at the first command.
 *
 * Guarantees: commands given while Redis is away wait for it; a connection that hangs, in use or
 * while it is set up, is replaced, and what was under way on it rejects; it never gives up.
 */
export class CommandClient {
  #client: Redis | undefined;
  #watchdog: Watchdog | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Why the newest connection failed or was lost, while there is none. */
  lastError: string | undefined;
  #replaced = 0;
  /** Commands under way that must not be sent again. */
  #now = 0;
  #closed = false;
  /** Rejects what is under way: a client that is dropped while it reconnects leaves its queue unanswered. */
  #underWay = new Lifetime();

  constructor(private readonly options: CommandClientOptions) {}

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether there is a connection that works, as far as is known. */
  get connected(): boolean {
    return this.#client?.status === 'ready';
  }

  /** The address that it is connected to, as the system tells it. */
  get peer(): string | undefined {
    return this.#client && peerOf(this.#client);
  }

  /** Runs commands. Rejects with their error, or with `CLOSED`. */
  async run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#run(work);
      } catch (error) {
        if (!this.options.onElsewhere || !mayFollow(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
    }
  }

  async #run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError();
    const client = (this.#client ??= this.#connect());
    try {
      return await this.#underWay.guard(work(client));
    } catch (error) {
      // A primary that became a replica keeps its connections: a new one finds the new primary.
      const isReplica = isReadOnly(error);
      if (isReplica || replyCode(error) === 'MOVED') {
        const { onElsewhere } = this.options;
        onElsewhere?.();
        if (onElsewhere || isReplica) this.#replace(client, error as Error);
      }
      throw error;
    }
  }

  /**
   * Runs commands that must be done now or never: rejects while there is no connection, and when it
   * is lost before they are answered, in which case they are not sent again.
   */
  async runNow<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#client && this.#client.status !== 'ready')
      throw new Error('there is no connection');
    this.#now++;
    try {
      return await this.#run(work);
    } finally {
      this.#now--;
    }
  }

  /** Tries to connect now, where it waits before its next try: someone just reached the server. */
  wake(): void {
    const client = this.#client;
    if (client?.status === 'reconnecting')
      client.connect().catch(() => undefined);
  }

  /** Connects anew, and at once: `open` leads elsewhere now. Commands under way reject. */
  reopen(why: string): void {
    if (this.#closed || !this.#client) return;
    this.options.log.debug(`Command connection is replaced: ${why}`);
    this.#drop(new Error(why));
    this.#client = this.#connect();
  }

  /** Does without a connection until the next command, unless one is under way. */
  release(): void {
    if (this.#underWay.waiting === 0) this.#drop(new Error('it was released'));
  }

  /** Closes the connection; commands under way reject. */
  close(): void {
    this.#closed = true;
    this.#drop(closedError());
  }

  #connect(): Redis {
    const client = this.options.open();
    client.on('error', (error) => {
      const reason = reasonOf(error);
      if (reason !== this.lastError)
        this.options.log.debug(`Command connection: ${reason}`);
      this.lastError = reason;
    });
    client.on('connecting', () => this.#expectReady(client));
    client.on('ready', () => {
      clearTimeout(this.#timer);
      this.#replaced = 0;
      this.lastError = undefined;
      this.#watchdog?.stop();
      this.#watchdog = new Watchdog({
        ping: () => client.ping(),
        onSilence: (error) => this.#replace(client, error),
      });
    });
    client.on('close', () => {
      this.#watchdog?.stop();
      clearTimeout(this.#timer);
      // ioredis would send it again: only a client that is dropped does not.
      if (this.#now > 0) this.#replace(client, new Error('it closed'));
    });
    client.on('end', () => {
      this.options.onElsewhere?.();
      this.#replace(client, new Error('the connection ended'));
    });
    client.connect().catch(() => undefined);
    return client;
  }

  /** ioredis times the TCP connection only, not the handshake that follows. */
  #expectReady(client: Redis): void {
    clearTimeout(this.#timer);
    const { connectTimeout } = this.options;
    this.#timer = setTimeout(
      () =>
        this.#replace(
          client,
          new Error(`not connected within ${connectTimeout} ms`),
        ),
      connectTimeout,
    ).unref();
  }

  #replace(client: Redis, why: Error): void {
    if (this.#closed || client !== this.#client) return;
    this.options.log.debug(`Command connection is replaced: ${reasonOf(why)}`);
    this.#drop(why);
    this.#timer = setTimeout(() => {
      if (!this.#closed) this.#client ??= this.#connect();
    }, this.options.retryDelay(++this.#replaced)).unref();
  }

  #drop(why: Error): void {
    clearTimeout(this.#timer);
    this.#watchdog?.stop();
    const client = this.#client;
    this.#client = undefined;
    if (client) disconnect(client);
    const underWay = this.#underWay;
    this.#underWay = new Lifetime();
    underWay.end(why);
  }
}

/** Another try may reach another server: this one refused for that reason, or the connection failed. */
const mayFollow = (error: unknown): boolean => {
  if (!(error instanceof Error) || error instanceof RedisExpiryError)
    return false;
  if (isReplyError(error)) return isElsewhere(error);
  // A mistake of this package is no failing connection.
  return !(error instanceof TypeError || error instanceof RangeError);
};

const closedError = (): RedisExpiryError =>
  new RedisExpiryError('CLOSED', 'The connection was closed.');

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
