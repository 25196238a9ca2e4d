import { isReplyError } from './server-error.js';

/** The connection is open and brings no answers: what was under way on it may be done yet, or never. */
export class ConnectionSilent extends Error {}

export interface WatchdogOptions {
  /** Sends a PING over the connection that is watched. */
  readonly ping: () => Promise<unknown>;
  /** No answer came. Called once; the watchdog has stopped by then. */
  readonly onSilence: (error: ConnectionSilent) => void;
  /** Ms between an answer and the next PING. @default 2_000 */
  readonly interval?: number;
  /** Ms within which the answer must come. @default 4_000 */
  readonly timeout?: number;
}

/** Ms in which an answer that lies in the socket's buffer can be read, after the process itself was held up. */
const GRACE_MS = 1_000;

/**
 * Finds a connection that fell silent without closing: it pings, and reports when no answer comes. Each
 * connection for commands or for listening has one.
 *
 * States:
 * - *resting* (at first, and after each answer): the next PING is sent after `interval`.
 * - *expecting* (after a PING): an answer, an error of the server included, leads to *resting*. Without one
 *   within `timeout`, leads to *doubting*.
 * - *doubting*: a process that was blocked for longer than the timeout finds its timers due before it has
 *   read the answer that came meanwhile. So silence counts only if it lasts through one more second; where
 *   anything else was heard, it expects the answer for another `timeout`.
 * - *stopped* (after `stop`, or once silence was reported): nothing is sent or reported any more.
 *
 * Guarantees: one timer.
 */
export class Watchdog {
  /** When the newest answered ping was sent: until then the connection certainly worked. */
  lastProof = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #heard = false;

  constructor(private readonly options: WatchdogOptions) {
    this.#pingIn(options.interval ?? 2_000);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #pingIn(ms: number): void {
    this.#timer = setTimeout(() => this.#ping(), ms).unref();
  }

  /** Something else came over the connection, so it is not silent, though the answer may have to wait its turn. */
  heard(): void {
    this.#heard = true;
  }

  #ping(): void {
    const { interval = 2_000 } = this.options;
    const sentAt = Date.now();
    const answered = (): void => {
      if (this.#stopped) return;
      this.lastProof = sentAt;
      clearTimeout(this.#timer);
      this.#pingIn(interval);
    };
    this.options.ping().then(answered, (error: unknown) => {
      // To be refused is an answer. A connection that closes reports so itself.
      if (isReplyError(error)) answered();
    });
    this.#expectAnswer();
  }

  #expectAnswer(): void {
    const { timeout = 4_000 } = this.options;
    this.#heard = false;
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => {
        if (this.#heard) {
          this.#expectAnswer();
          return;
        }
        this.stop();
        this.options.onSilence(
          new ConnectionSilent(`no answer to PING within ${timeout} ms`),
        );
      }, GRACE_MS).unref();
    }, timeout).unref();
  }
}
