import type { Redis } from 'ioredis';
import { disconnect, type Opening } from '../connection/connection.js';
import {
  isDenied,
  isReplyError,
  isUnknownCommand,
} from '../connection/server-error.js';
import { Watchdog } from '../connection/watchdog.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';
import { isLiteralChannel } from './channels.js';
import { INVALIDATIONS, KeyTracker } from './key-tracker.js';
import { readInfo } from './server-identity.js';

/** Is given each message with the channel or pattern that was subscribed to. Must be quick, and must not throw. */
export type OnMessage = (
  subscribed: string,
  channel: Buffer,
  message: Buffer,
) => void;

/** Is told that keys changed, where they are tracked. As quick as `OnMessage`. */
export type OnChanged = (keys: readonly Buffer[]) => void;

/**
 * One life of a listening connection: it connects once, subscribes, and is over when the connection
 * closes or falls silent.
 *
 * Guarantees: a channel counts as acknowledged once Redis said so and no sooner; what Redis refuses
 * is reported, not thrown; `lost` settles exactly once, with the reason.
 */
export class ListenerSession {
  /** Resolves with the reason when the session is over, for whatever cause. */
  readonly lost: Promise<string>;
  /** Channels and patterns whose subscription Redis acknowledged. */
  readonly acknowledged = new Set<string>();
  /** The connection is made: subscriptions can be. */
  connected = false;
  /** Names this run of the server; unset where it does not tell. */
  runId: string | undefined;
  #watchdog: Watchdog | undefined;
  #end!: (reason: string) => void;
  readonly #life = new Lifetime();
  #lastError = 'the connection closed';
  #handshakeError: string | undefined;
  /** The connection's number at the server; undefined where it does not tell. */
  #id: number | undefined;
  #tracker: KeyTracker | undefined;
  #tracked = '';
  #refusesTracking = false;

  constructor(
    private readonly client: Redis,
    onMessage: OnMessage,
    onChanged: OnChanged,
  ) {
    this.lost = new Promise((resolve) => (this.#end = resolve));
    client.on('error', (error: Error) => {
      this.#lastError = reasonOf(error);
      if (isReplyError(error)) this.#handshakeError = this.#lastError;
    });
    client.on('close', () => this.#over(this.#lastError));
    client.on(
      'pmessageBuffer',
      (pattern: string, channel: Buffer, message: Buffer) => {
        this.#watchdog?.heard();
        onMessage(pattern, channel, message);
      },
    );
    client.on('messageBuffer', (channel: Buffer, message: unknown) => {
      this.#watchdog?.heard();
      const name = channel.toString();
      if (name !== INVALIDATIONS) onMessage(name, channel, message as Buffer);
      // None at all after a flush.
      else if (Array.isArray(message)) onChanged(message as Buffer[]);
    });
  }

  /** When the newest proof was given that the connection worked, as epoch ms. */
  get lastProof(): number | undefined {
    return this.#watchdog?.lastProof;
  }

  /** Connects. Rejects with the reason when it cannot. */
  async connect(): Promise<void> {
    try {
      await this.client.connect();
    } catch {
      // What connect() rejects with says only that it closed; the error came as an event.
      throw new Error(this.#lastError);
    }
    // A database that does not exist, say: ioredis goes on without it.
    if (this.#handshakeError) throw new Error(this.#handshakeError);
    // Not to be asked any more once it is subscribed.
    const [id, info] = await this.guard(
      Promise.all([
        this.client.client('ID').catch(() => undefined),
        this.client.info('server').catch(() => ''),
      ]),
    );
    this.#id = id;
    this.runId = readInfo(info).runId;
    this.connected = true;
    this.#watchdog = new Watchdog({
      ping: () => this.client.ping(),
      onSilence: (error) => this.close(error.message),
    });
  }

  /**
   * Makes the subscriptions those that are wanted. Returns what the server refused, as its ACL forbids
   * it or it has no such command, with the reason; rejects when the connection is lost meanwhile.
   */
  async sync(wanted: Iterable<string>): Promise<Map<string, string>> {
    const target = new Set(wanted);
    const surplus = [...this.acknowledged].filter((c) => !target.has(c));
    const missing = [...target].filter((c) => !this.acknowledged.has(c));
    const refused = new Map<string, string>();
    for (const literal of [true, false]) {
      const ofKind = (channels: string[]): string[] =>
        channels.filter((c) => isLiteralChannel(c) === literal);
      await this.#subscribe(ofKind(missing), literal, refused);
      await this.#unsubscribe(ofKind(surplus), literal);
    }
    return refused;
  }

  /**
   * Has the server tell of changes of keys with these prefixes; with none, of no changes. Resolves
   * with whether it does; rejects when a connection is lost.
   *
   * @param open makes one more client for the same server, not connected yet
   */
  async track(
    prefixes: readonly Buffer[],
    open: () => Opening,
  ): Promise<boolean> {
    const wanted = prefixes.map((prefix) => prefix.toString('hex')).join(',');
    const before = this.#tracker;
    if (prefixes.length === 0) {
      this.#tracker = undefined;
      before?.close();
      return false;
    }
    if (before && wanted === this.#tracked) return true;
    if (this.#id === undefined || this.#refusesTracking) return false;
    try {
      let tracker: KeyTracker | undefined;
      const onLost = (reason: string): void => {
        if (tracker && this.#tracker === tracker) this.close(reason);
      };
      const client = await this.guard(Promise.resolve(open()));
      tracker = await this.#openTracker(client, this.#id, prefixes, onLost);
      // It ended in the very moment in which the tracker was opened.
      if (this.#life.ended) {
        tracker.close();
        throw this.#life.ended;
      }
      this.#tracker = tracker;
      this.#tracked = wanted;
      before?.close();
      return true;
    } catch (error) {
      if (!isReplyError(error)) throw error;
      this.#refusesTracking = true;
      return false;
    }
  }

  /** Resolves once all that Redis had sent before it answered has been heard. Rejects when the session is over. */
  async ping(): Promise<void> {
    await this.guard(
      this.client.ping().catch((error: unknown) => {
        // To be refused is an answer: a server that cannot save to disk refuses PING, too.
        if (!isReplyError(error)) throw error;
      }),
    );
  }

  /** Settles as an answer does that comes over this connection; rejects when the session is over before. */
  guard<T>(answer: Promise<T>): Promise<T> {
    return this.#life.guard(answer);
  }

  /** As `guard`, for the work that has the session listen; ends the session where that takes longer. */
  async within(limitMs: number, work: Promise<void>): Promise<void> {
    const timer = setTimeout(
      () => this.close(`not listening within ${limitMs} ms`),
      limitMs,
    );
    try {
      await this.guard(work);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the session. */
  close(reason = 'closed'): void {
    this.#over(reason);
    disconnect(this.client);
  }

  #over(reason: string): void {
    this.#watchdog?.stop();
    this.#tracker?.close();
    this.#tracker = undefined;
    this.#life.end(new Error(reason));
    this.#end(reason);
  }

  /** Leaves no client behind where the session ends while it is opened. */
  async #openTracker(
    client: Redis,
    id: number,
    prefixes: readonly Buffer[],
    onLost: (reason: string) => void,
  ): Promise<KeyTracker> {
    try {
      const opened = KeyTracker.open(client, id, prefixes, onLost);
      return await this.guard(opened);
    } catch (error) {
      disconnect(client);
      throw error;
    }
  }

  async #subscribe(
    channels: string[],
    literal: boolean,
    refused: Map<string, string>,
  ): Promise<void> {
    if (channels.length === 0) return;
    try {
      await this.guard(
        literal
          ? this.client.subscribe(...channels)
          : this.client.psubscribe(...channels),
      );
      for (const channel of channels) this.acknowledged.add(channel);
    } catch (error) {
      if (!isDenied(error)) throw error;
      if (isUnknownCommand(error)) {
        // A channel's name that holds no glob is a pattern that matches it alone.
        if (literal) return this.#subscribe(channels, false, refused);
        for (const channel of channels) refused.set(channel, reasonOf(error));
      }
      // Redis refuses the whole command for one channel: find out which.
      else if (channels.length === 1)
        refused.set(channels[0]!, reasonOf(error));
      else
        for (const channel of channels)
          await this.#subscribe([channel], literal, refused);
    }
  }

  async #unsubscribe(channels: string[], literal: boolean): Promise<void> {
    if (channels.length === 0) return;
    for (const channel of channels) this.acknowledged.delete(channel);
    try {
      await this.guard(
        literal
          ? this.client.unsubscribe(...channels)
          : this.client.punsubscribe(...channels),
      );
    } catch (error) {
      // What still comes is for nobody.
      if (!isDenied(error)) throw error;
    }
  }
}
