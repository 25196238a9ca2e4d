import type { Redis } from 'ioredis';
import { RedisExpiryError, reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { Signal } from '../util/signal.js';
import { sleep } from '../util/sleep.js';
import { Connection, ConnectionLost, type Opening } from './connection.js';
import {
  isElsewhere,
  isReadOnly,
  isReplyError,
  isUnknownCommand,
  replyCode,
} from './server-error.js';

export interface CommandClientOptions {
  /**
   * Makes a new client, by what the user's client, options or function say at this moment. It is not connected
   * yet, and never connects a second time. Settles by itself; what it throws counts as a connection that failed.
   */
  readonly open: () => Opening;
  /** Ms within which a connection must be usable. */
  readonly connectTimeout: number;
  readonly retryDelay: (attempt: number) => number;
  /**
   * The keys seem to live elsewhere, or cannot be reached. For a client that goes where some keys of a
   * Cluster live, which `open` finds out: commands that a server refused for that reason are sent again.
   */
  readonly onElsewhere?: () => void;
  readonly log: Log;
}

/** Ms before commands are sent again that were refused because their keys live elsewhere. */
const RETRY_DELAY_MS = 50;

/**
 * Sends ordinary commands to one server, over one `Connection` after the other. Each is a client of its
 * own, so that it is made with the credentials of its time: ioredis would reconnect with those of long ago.
 * The topology makes one for each node, and one for whoever follows keys of a Cluster.
 *
 * States:
 * - *idle* (at first, and after `release`): there is no connection, and nobody needs one. The first
 *   command leads to *connecting*.
 * - *connecting*: a client is made, connects and logs in, and commands wait. Leads to *ready*, or to *waiting*
 *   where it could not be made, or is not ready within `connectTimeout`.
 * - *ready*: commands are sent. A close, silence, or a primary that became a replica lead to *waiting*.
 * - *waiting*: it connects again after `retryDelay`, or when `wake` is called; commands wait.
 * - *closed* (after `close`): for good.
 *
 * Guarantees: it never gives up; commands that are given while there is no connection wait for it, in
 * their order; what was under way on a connection that closed is done again on the next one, and what
 * was under way on one that hangs rejects, as that may be done yet.
 */
export class CommandClient {
  #state: 'idle' | 'connecting' | 'ready' | 'waiting' | 'closed' = 'idle';
  #connection: Connection | undefined;
  /** Ends *waiting*. */
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lastError: string | undefined;
  /** The error by which the server refused the newest login. */
  #refusedBy: Error | undefined;
  #refusedSince: Date | undefined;
  /** Commands that wait for a change of state. */
  #waiting = 0;
  readonly #changed = new Signal();

  constructor(private readonly options: CommandClientOptions) {}

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** Whether there is a connection that works, as far as is known. */
  get connected(): boolean {
    return this.#state === 'ready' && this.#connection?.isUsable === true;
  }

  /** Why there is no connection; undefined while there is one, and before the first try has failed. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The error by which the server refused the newest login; undefined where it did not. No command is answered meanwhile. */
  get refusal(): string | undefined {
    return this.#refusedBy ? this.#lastError : undefined;
  }

  /** Since when the server refuses each login; undefined where it does not. */
  get refusedSince(): Date | undefined {
    return this.#refusedBy && this.#refusedSince;
  }

  /** The address that it is connected to, as the system tells it; undefined without a connection. */
  get peer(): string | undefined {
    return this.#connection?.peer;
  }

  /**
   * Runs commands, as soon as there is a connection. Rejects with their error, with `CLOSED`, or with
   * the server's error where it lacks a command that is needed to connect.
   */
  async run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        if (this.#state !== 'ready') await this.#untilReady();
        return await this.#send(work);
      } catch (error) {
        if (error instanceof ConnectionLost) continue;
        if (!this.options.onElsewhere || !mayFollow(error)) throw error;
        await sleep(RETRY_DELAY_MS);
      }
    }
  }

  /**
   * Runs commands that must be done now or never. Rejects while there is no connection, and when the
   * connection is lost before they are answered; they are not sent again. If nobody needed a
   * connection before, one try to connect is waited for.
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

  /** Connects now instead of after its delay, because somebody just reached the server. */
  wake(): void {
    if (this.#state === 'waiting') this.#connect();
  }

  /** Replaces the connection at once, because `open` leads elsewhere now. Commands under way reject. */
  reopen(why: string): void {
    if (this.#state === 'closed' || this.#state === 'idle') return;
    this.options.log.debug(`Command connection is replaced: ${why}`);
    this.#drop(new Error(why));
    this.#connect();
  }

  /** Closes the connection until the next command, unless some command is under way or waits. */
  release(): void {
    const isNeeded = (this.#connection?.waiting ?? 0) + this.#waiting > 0;
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
    const connection = this.#connection!;
    try {
      return await connection.send(work);
    } catch (error) {
      // A primary that became a replica keeps its connections: a new one finds the new primary.
      const isReplica = isReadOnly(error);
      if (isReplica || replyCode(error) === 'MOVED') {
        const { onElsewhere } = this.options;
        onElsewhere?.();
        if (onElsewhere || isReplica) connection.fail(error as Error);
      }
      if (isReplyError(error) || connection.isUsable) throw error;
      // ioredis rejects what is under way before it says that the connection closed.
      connection.fail(new ConnectionLost('the connection closed'));
      throw connection.ended ?? error;
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
  async #change(): Promise<void> {
    this.#waiting++;
    await this.#changed.next();
    this.#waiting--;
  }

  #enter(state: 'idle' | 'ready' | 'waiting' | 'closed'): void {
    this.#state = state;
    this.#changed.fire();
  }

  #connect(): void {
    clearTimeout(this.#timer);
    this.#state = 'connecting';
    const { open, connectTimeout } = this.options;
    this.#connection = new Connection(open, {
      connectTimeout,
      onReady: () => this.#arrive(),
      onLost: (why) => this.#lose(why),
    });
  }

  #arrive(): void {
    this.#failures = 0;
    this.#refusedBy = undefined;
    this.#lastError = undefined;
    this.#enter('ready');
  }

  #lose(why: Error): void {
    if (why instanceof ConnectionLost) this.options.onElsewhere?.();
    const wasReady = this.#state === 'ready';
    this.#connection = undefined;
    const { cause = why } = why;
    const isRefused = !wasReady && isReplyError(cause);
    this.#note(reasonOf(why), isRefused ? (cause as Error) : undefined);
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

  #note(reason: string, refusedBy: Error | undefined): void {
    if (reason !== this.#lastError)
      this.options.log.debug(`Command connection: ${reason}`);
    this.#lastError = reason;
    if (refusedBy && !this.#refusedBy) this.#refusedSince = new Date();
    this.#refusedBy = refusedBy;
  }

  #drop(why: Error): void {
    clearTimeout(this.#timer);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.end(why);
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
