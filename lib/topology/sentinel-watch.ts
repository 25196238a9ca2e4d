import type { Redis } from 'ioredis';
import { disconnect, type Opening } from '../connection/connection.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { sleep } from '../util/sleep.js';
import { within } from '../util/within.js';

/** Ms between two questions to one Sentinel. */
const INTERVAL_MS = 250;
/** One question in so many asks for the other Sentinels, too. */
const INTERVALS_PER_PEERS = 40;
/** Ms within which a Sentinel must answer. */
export const SENTINEL_TIMEOUT_MS = 1_000;
/** Ms before a Sentinel that did not answer is asked again. */
const RETRY_DELAY_MS = 1_000;

/** Another Sentinel, as one names it. */
export interface SentinelPeer {
  readonly host: string;
  readonly port: number;
  /** Its own identifier. */
  readonly id: string;
}

/** Hears what one Sentinel answers; `SentinelScout` has one for each. */
export interface SentinelObserver {
  /** The Sentinel names this primary, by `host:port`. Called for each answer. */
  named(address: string): void;
  /** The Sentinel tells its own identifier, and which other Sentinels it knows. */
  knows(id: string | undefined, peers: readonly SentinelPeer[]): void;
  /** The Sentinel does not answer, or cannot be reached. */
  failed(): void;
}

/** Asks one Sentinel who the primary is, four times a second, until it is closed; by a new connection after each failure. */
export class SentinelWatch {
  readonly #closing = new AbortController();

  constructor(
    /** Names the Sentinel in logs. */
    private readonly title: string,
    /** Makes a client that is not connected yet. */
    private readonly open: () => Opening,
    /** What the Sentinels call the primary. */
    private readonly master: string,
    private readonly observer: SentinelObserver,
    private readonly log: Log,
  ) {}

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      let sentinel: Redis | undefined;
      let reason: unknown;
      try {
        sentinel = await this.open();
        sentinel.on('error', (error: Error) => (reason = error));
        for (let i = 0; !signal.aborted; i++) {
          if (i % INTERVALS_PER_PEERS === 0) await this.#askForPeers(sentinel);
          const address = await this.#askForPrimary(sentinel);
          if (signal.aborted) break;
          this.observer.named(address);
          await sleep(INTERVAL_MS, { ref: false, signal });
        }
      } catch (error) {
        this.log.debug(`${this.title}: ${reasonOf(reason ?? error)}`);
        if (!signal.aborted) {
          this.observer.failed();
          await sleep(RETRY_DELAY_MS, { ref: false, signal });
        }
      } finally {
        if (sentinel) disconnect(sentinel);
      }
    }
  }

  async #askForPrimary(sentinel: Redis): Promise<string> {
    const answer = await this.#answer(
      sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.master),
    );
    if (!Array.isArray(answer)) throw new Error('does not know the primary');
    return answer.join(':');
  }

  async #askForPeers(sentinel: Redis): Promise<void> {
    const [id, peers] = (await this.#answer(
      Promise.all([
        sentinel.call('SENTINEL', 'MYID').catch(() => undefined),
        sentinel.call('SENTINEL', 'SENTINELS', this.master).catch(() => []),
      ]),
    )) as [string | undefined, string[][]];
    if (!this.#closing.signal.aborted)
      this.observer.knows(id, peers.flatMap(toPeer));
  }

  async #answer<T>(asked: Promise<T>): Promise<T> {
    if (!(await within(SENTINEL_TIMEOUT_MS, asked)))
      throw new Error('does not answer');
    return asked;
  }
}

/** Reads names and values by turns. */
function toPeer(entry: readonly string[]): SentinelPeer[] {
  const valueOf = (name: string): string =>
    entry[entry.indexOf(name) + 1] ?? '';
  const [host, id] = [valueOf('ip'), valueOf('runid')];
  return host && id ? [{ host, port: Number(valueOf('port')), id }] : [];
}
