import type { Socket } from 'node:net';
import type { Redis } from 'ioredis';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';
import type { Log } from '../util/log.js';
import {
  isElsewhere,
  isReadOnly,
  isReplyError,
  isUnknownCommand,
  replyCode,
} from './server-error.js';
import { Watchdog } from './watchdog.js';

export interface CommandClientOptions {
  /**
   * Makes a new client, by what the user's client or options say at this moment. It is not connected
   * yet, and never connects a second time. What it throws counts as a connection that failed.
   */
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

/** The connection closed before commands were answered: they may be sent again on the next one. */
class ConnectionLost extends Error {}

/**
 * The connection for ordinary commands to one server. Each connection is a client of its own, so that
 * it is made with the credentials of its time: ioredis would reconnect with those of long ago.
 *
 * States:
 * - `idle`: there is no connection, and nobody needs one. The first command leads to `connecting`.
 * - `connecting`: a client connects and logs in. Leads to `ready`, or in `connectTimeout` to `waiting`.
 * - `ready`: commands are sent. A close, silence, or a primary that became a replica lead to `waiting`.
 * - `waiting`: it connects again after `retryDelay`, or when `wake` is called.
 * - `closed`: for good.
 *
 * Guarantees: it never gives up; commands that are given while there is no connection wait for it, in
 * their order; what was under way on a connection that closed is done again on the next one, and what
 * was under way on one that hangs rejects, as that may be done yet.
 */
export class CommandClient {
  #state: 'idle' | 'connecting' | 'ready' | 'waiting' | 'closed' = 'idle';
  #client: Redis | undefined;
  /** The present connection's: what is under way on it ends with it. */
  #life = new Lifetime();
  #watchdog: Watchdog | undefined;
  /** Ends `connecting`, or `waiting`. */
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lastError: string | undefined;
  #isRefused = false;
  #refusedBy: unknown;
  /** Commands that wait for a change of state. */
  #waiting: (() => void)[] = [];

  constructor(private readonly options: CommandClientOptions) {}

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** Whether there is a connection that works, as far as is known. */
  get connected(): boolean {
    return this.#state === 'ready' && this.#client?.status === 'ready';
  }

  /** Why the newest connection failed or was lost, while there is none. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** What the server answered to the newest login, while it refuses it; no command is answered then. */
  get refusal(): string | undefined {
    return this.#isRefused ? this.#lastError : undefined;
  }

  /** The address that it is connected to, as the system tells it. */
  get peer(): string | undefined {
    return this.#client && peerOf(this.#client);
  }

  /**
   * Runs commands, as soon as there is a connection. Rejects with their error, or with `CLOSED`; also
   * where the server has not the commands that it takes to connect.
   */
  async run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        if (this.#state !== 'ready') await this.#untilReady();
        return await this.#send(work);
      } catch (error) {
        if (error instanceof ConnectionLost) continue;
        if (!this.options.onElsewhere || !mayFollow(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
    }
  }

  /**
   * Runs commands that must be done now or never: rejects while there is no connection, and when it
   * is lost before they are answered, in which case they are not sent again. If nobody needed a
   * connection before, it waits for one try to connect.
   */
  async runNow<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.#state === 'idle') {
      this.#connect();
      await this.#change();
    }
    if (this.#state === 'closed') throw closedError();
    if (this.#state !== 'ready') throw new Error('there is no connection');
    return this.#send(work);
  }

  /** Tries to connect now, where it waits before its next try: someone just reached the server. */
  wake(): void {
    if (this.#state === 'waiting') this.#connect();
  }

  /** Connects anew, and at once: `open` leads elsewhere now. Commands under way reject. */
  reopen(why: string): void {
    if (this.#state === 'closed' || this.#state === 'idle') return;
    this.options.log.debug(`Command connection is replaced: ${why}`);
    this.#drop(new Error(why));
    this.#connect();
  }

  /** Does without a connection until the next command, unless one is under way. */
  release(): void {
    const isNeeded = this.#life.waiting + this.#waiting.length > 0;
    if (this.#state === 'closed' || isNeeded) return;
    this.#drop(new Error('it was released'));
    this.#enter('idle');
  }

  /** Closes the connection; commands under way reject. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#drop(closedError());
    this.#enter('closed');
  }

  async #send<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const [client, life] = [this.#client!, this.#life];
    try {
      return await life.guard(work(client));
    } catch (error) {
      // A primary that became a replica keeps its connections: a new one finds the new primary.
      const isReplica = isReadOnly(error);
      if (isReplica || replyCode(error) === 'MOVED') {
        const { onElsewhere } = this.options;
        onElsewhere?.();
        if (onElsewhere || isReplica) this.#lose(client, error as Error);
      }
      if (isReplyError(error) || client.status === 'ready') throw error;
      // ioredis rejects what is under way before it says that the connection closed.
      this.#lose(client, new ConnectionLost('the connection closed'));
      throw life.ended ?? error;
    }
  }

  async #untilReady(): Promise<void> {
    while (this.#state !== 'ready') {
      if (this.#state === 'closed') throw closedError();
      if (this.#state === 'idle') this.#connect();
      await this.#change();
      // A password may be right again later; a command that the client needs to connect stays missing.
      if (isUnknownCommand(this.#refusedBy)) throw this.#refusedBy;
    }
  }

  /** Resolves when it enters a state. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #enter(state: 'idle' | 'ready' | 'waiting' | 'closed'): void {
    this.#state = state;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.#state = 'connecting';
    let client: Redis;
    try {
      client = this.options.open();
    } catch (error) {
      this.#note(reasonOf(error), false);
      // Not at once: whoever makes it connect waits for what becomes of it.
      this.#timer = setTimeout(() => this.#wait(), 0);
      return;
    }
    this.#client = client;
    let error: Error | undefined;
    client.on('error', (reason: Error) => (error = reason));
    client.on('ready', () => {
      // A database that does not exist, say: ioredis goes on without it.
      if (isReplyError(error)) this.#lose(client, error);
      else this.#arrive(client);
    });
    client.on('end', () => {
      this.options.onElsewhere?.();
      const lost = new ConnectionLost(
        error ? reasonOf(error) : 'the connection closed',
        { cause: error },
      );
      this.#lose(client, lost);
    });
    client.connect().catch(() => undefined);
    // ioredis times the TCP connection only, not the handshake that follows.
    const { connectTimeout } = this.options;
    this.#timer = setTimeout(
      () =>
        this.#lose(
          client,
          new Error(`not connected within ${connectTimeout} ms`),
        ),
      connectTimeout,
    ).unref();
  }

  #arrive(client: Redis): void {
    if (client !== this.#client) return;
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#refusedBy = undefined;
    this.#lastError = undefined;
    this.#isRefused = false;
    this.#watchdog = new Watchdog({
      ping: () => client.ping(),
      onSilence: (error) => this.#lose(client, error),
    });
    this.#enter('ready');
  }

  #lose(client: Redis, why: Error): void {
    if (client !== this.#client) return;
    const wasReady = this.#state === 'ready';
    this.#drop(why);
    const { cause = why } = why;
    const isRefused = !wasReady && isReplyError(cause);
    this.#refusedBy = isRefused ? cause : undefined;
    this.#note(reasonOf(why), isRefused);
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    // Keeps the process alive: there may be nothing else that does.
    this.#timer = setTimeout(
      () => this.#connect(),
      this.options.retryDelay(++this.#failures),
    );
    this.#enter('waiting');
  }

  #note(reason: string, isRefused: boolean): void {
    if (reason !== this.#lastError)
      this.options.log.debug(`Command connection: ${reason}`);
    this.#lastError = reason;
    this.#isRefused = isRefused;
  }

  #drop(why: Error): void {
    clearTimeout(this.#timer);
    this.#watchdog?.stop();
    const client = this.#client;
    this.#client = undefined;
    if (client) disconnect(client);
    const life = this.#life;
    this.#life = new Lifetime();
    life.end(why);
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
