import { Redis, type RedisOptions } from 'ioredis';
import { disconnect } from '../connection/command-client.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../log.js';
import { within } from '../within.js';

/** Ms between two questions. */
const INTERVAL = 500;
/** Ms within which a Sentinel must answer. */
const PATIENCE = 1_000;

/**
 * Asks Sentinels who the primary is, again and again. Connections alone do not tell: after a
 * failover by command the old primary goes on as one for many seconds, and whoever is connected to
 * it hears and changes what nobody else sees.
 */
export class SentinelScout {
  #known: string | undefined;
  #turn = 0;
  #closed = false;
  #running = false;

  /** `onSwitch`: another server is the primary now. */
  constructor(
    private readonly options: RedisOptions,
    private readonly onSwitch: () => void,
    private readonly log: Log,
  ) {}

  /** Goes on until `close`. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  close(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    const { sentinels = [] } = this.options;
    while (!this.#closed) {
      const { host, port } = sentinels[this.#turn++ % sentinels.length]!;
      const sentinel = this.#connect(host, port);
      let reason: unknown;
      sentinel.on('error', (error: Error) => (reason = error));
      try {
        while (!this.#closed) {
          await this.#ask(sentinel);
          await pause();
        }
      } catch (error) {
        this.log.debug(
          `Sentinel ${host}:${port}: ${reasonOf(reason ?? error)}`,
        );
        await pause();
      } finally {
        disconnect(sentinel);
      }
    }
  }

  async #ask(sentinel: Redis): Promise<void> {
    let answer: unknown;
    const asked = sentinel
      .call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.options.name!)
      .then((reply) => (answer = reply));
    if (!(await within(PATIENCE, asked))) throw new Error('does not answer');
    if (!Array.isArray(answer)) throw new Error('does not know the primary');
    const address = answer.join(':');
    const before = this.#known;
    this.#known = address;
    if (before === undefined || before === address || this.#closed) return;
    this.log.log(`Sentinel names ${address} the primary, after ${before}`);
    this.onSwitch();
  }

  #connect(host: string | undefined, port: number | undefined): Redis {
    const { options } = this;
    return new Redis({
      host: host ?? '127.0.0.1',
      port: port ?? 26_379,
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

const pause = (): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, INTERVAL).unref());
