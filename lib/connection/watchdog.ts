import { isReplyError } from './server-error.js';

export interface WatchdogOptions {
  /** Asks for an answer over the connection that is watched. */
  readonly ping: () => Promise<unknown>;
  /** Called once, when an answer stayed away; the watchdog has stopped by then. */
  readonly onSilence: (error: Error) => void;
  /** Ms between two pings. */
  readonly interval?: number;
  /** Ms within which the answer must come. */
  readonly timeout?: number;
}

/** Time for what lies in the socket's buffer to be read, when the process itself was held up. */
const GRACE = 1_000;

/**
 * Finds a connection that fell silent without closing: pings it, and reports when no answer comes.
 *
 * A process that was blocked for longer than the timeout finds its timers due before it has read
 * the answer that came meanwhile; so silence counts only if it lasts through one more second.
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

  /** Something else came over the connection: it is not silent, though the answer may have to wait its turn. */
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
          new Error(`no answer to PING within ${timeout} ms`),
        );
      }, GRACE).unref();
    }, timeout).unref();
  }
}
