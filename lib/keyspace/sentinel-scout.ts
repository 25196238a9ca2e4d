import { Redis, type RedisOptions } from 'ioredis';
import { disconnect } from '../connection/command-client.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import { within } from '../within.js';

/** Ms between two questions to one Sentinel. */
const INTERVAL = 250;
/** Ms within which a Sentinel must answer. */
const PATIENCE = 1_000;
/** Ms before a Sentinel that did not is asked again. */
const AGAIN = 1_000;

/**
 * Asks every Sentinel who the primary is, again and again. Connections alone do not tell: after a
 * failover by command the old primary goes on as one for many seconds, and whoever is connected to
 * it hears and changes what nobody else sees.
 *
 * Sentinels learn of a failover one after the other, and whoever connects meanwhile may be sent to
 * the old primary by one that lags: so each of them is waited for, and each change counts.
 */
export class SentinelScout {
  #closed = false;
  #running = false;

  /** `onSwitch`: some Sentinel names another primary than before, by `host:port`. */
  constructor(
    /** As they are when it is asked for them: passwords change. */
    private readonly options: () => RedisOptions,
    private readonly onSwitch: (address: string) => void,
    private readonly log: Log,
  ) {}

  /** Goes on until `close`. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    for (const { host = '127.0.0.1', port = 26_379 } of this.options()
      .sentinels ?? [])
      void this.#watch(host, port);
  }

  close(): void {
    this.#closed = true;
  }

  async #watch(host: string, port: number): Promise<void> {
    const name = `Sentinel ${host}:${port}`;
    let known: string | undefined;
    while (!this.#closed) {
      const sentinel = this.#connect(host, port);
      let reason: unknown;
      sentinel.on('error', (error: Error) => (reason = error));
      try {
        while (!this.#closed) {
          const address = await this.#ask(sentinel);
          if (this.#closed) break;
          if (known !== undefined && known !== address) {
            this.log.log(`${name}: ${address} is the primary, after ${known}`);
            this.onSwitch(address);
          }
          known = address;
          await pause(INTERVAL);
        }
      } catch (error) {
        this.log.debug(`${name}: ${reasonOf(reason ?? error)}`);
        await pause(AGAIN);
      } finally {
        disconnect(sentinel);
      }
    }
  }

  async #ask(sentinel: Redis): Promise<string> {
    let answer: unknown;
    const asked = sentinel
      .call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.options().name!)
      .then((reply) => (answer = reply));
    if (!(await within(PATIENCE, asked))) throw new Error('does not answer');
    if (!Array.isArray(answer)) throw new Error('does not know the primary');
    return answer.join(':');
  }

  #connect(host: string, port: number): Redis {
    const options = this.options();
    return new Redis({
      host,
      port,
      ...(options.sentinelUsername && { username: options.sentinelUsername }),
      ...(options.sentinelPassword && { password: options.sentinelPassword }),
      ...(options.sentinelTLS && { tls: options.sentinelTLS }),
      ...(options.family && { family: options.family }),
      connectTimeout: PATIENCE,
      connectionName: options.connectionName ?? '',
      enableReadyCheck: false,
      retryStrategy: null,
      protocol: 2,
    });
  }
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms).unref());
