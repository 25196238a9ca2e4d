import { Redis, type RedisOptions } from 'ioredis';
import type { Log } from '../util/log.js';
import { hostAndPort, mapped } from './cluster-view.js';
import {
  SENTINEL_TIMEOUT_MS,
  type SentinelPeer,
  SentinelWatch,
} from './sentinel-watch.js';

/** A Sentinel that is asked. */
interface Known {
  readonly address: string;
  readonly watch: SentinelWatch;
  /** Whether it is one of those in the user's options, which are asked until the end. */
  readonly isConfigured: boolean;
  /** Its identifier, once it is known. */
  id: string | undefined;
  /** The primary that it named last. */
  primary: string | undefined;
  /** Whether its newest answer came. */
  answers: boolean;
  /** The other Sentinels that it named last, by their identifiers. */
  peers: ReadonlySet<string>;
}

/**
 * Asks every Sentinel who the primary is, again and again: those in the user's options, and those
 * that they name. `StandaloneTopology` runs it. Connections alone do not tell: after a failover by command
 * the old primary goes on as one for many seconds, and a client that is connected to it hears and changes
 * what nobody else sees.
 *
 * Sentinels learn of a failover one after the other, and one that lags may send a client that connects
 * meanwhile to the old primary. So every Sentinel is asked, and each change that one of them reports counts.
 */
export class SentinelScout {
  readonly #known = new Map<string, Known>();
  /** The primary that a Sentinel named as the last one to change. */
  #newest: string | undefined;
  #closed = false;

  /**
   * @param options the user's, as they were read last
   * @param read reads them anew, for each connection, because passwords change
   * @param onSwitch a Sentinel names another primary than before, by `host:port` as this process reaches it
   */
  constructor(
    private options: RedisOptions,
    private readonly read: () => Promise<RedisOptions>,
    private readonly onSwitch: (address: string) => void,
    private readonly log: Log,
  ) {}

  /** All Sentinels that are known, those first who name the newest primary, and last those who do not answer. */
  get sentinels(): { host: string; port: number }[] {
    const rank = ({ answers, primary }: Known): number =>
      answers ? (primary === this.#newest ? 0 : 1) : 2;
    return [...this.#known.values()]
      .toSorted((a, b) => rank(a) - rank(b))
      .map(({ address }) => hostAndPort(address));
  }

  /** Goes on until `close`. */
  start(): void {
    if (this.#known.size > 0 || this.#closed) return;
    this.#followConfigured();
  }

  close(): void {
    this.#closed = true;
    for (const { watch } of this.#known.values()) watch.close();
  }

  /** Asks those in the user's options, which may be others than before. */
  #followConfigured(): void {
    const { sentinels } = this.options;
    for (const { host = '127.0.0.1', port = 26_379 } of sentinels ?? [])
      this.#follow(`${host}:${port}`);
  }

  /** @param id of a Sentinel that another one named; undefined for one of the user's options */
  #follow(address: string, id?: string): void {
    if (this.#known.has(address)) return;
    const known: Known = {
      ...{ address, isConfigured: id === undefined, id, primary: undefined },
      ...{ answers: false, peers: new Set<string>() },
      watch: new SentinelWatch(
        `Sentinel ${address}`,
        () => this.#open(address),
        this.options.name!,
        {
          named: (primary) => this.#named(known, primary),
          knows: (own, peers) => this.#knows(known, own, peers),
          failed: () => this.#failed(known),
        },
        this.log,
      ),
    };
    this.#known.set(address, known);
    known.watch.start();
  }

  #named(known: Known, named: string): void {
    const address = mapped(named, this.options.natMap ?? undefined);
    const before = known.primary;
    known.primary = address;
    known.answers = true;
    this.#newest ??= address;
    if (before === undefined || before === address) return;
    this.#newest = address;
    this.log.log(
      `Sentinel ${known.address}: ${address} is the primary, after ${before}`,
    );
    this.onSwitch(address);
  }

  #knows(
    known: Known,
    id: string | undefined,
    peers: readonly SentinelPeer[],
  ): void {
    known.id = id ?? known.id;
    known.peers = new Set(peers.map((peer) => peer.id));
    // One Sentinel may be known by two addresses: as the user named it, and as another Sentinel names it.
    for (const other of this.#known.values())
      if (
        known.id !== undefined &&
        other.id === known.id &&
        other !== known &&
        !other.isConfigured
      )
        this.#forget(other);
    const ids = new Set([...this.#known.values()].map((each) => each.id));
    const { natMap } = this.options;
    for (const { host, port, id: peer } of peers)
      if (!ids.has(peer))
        this.#follow(mapped(`${host}:${port}`, natMap ?? undefined), peer);
  }

  /** A Sentinel does not answer. One that others named is asked on for as long as one of them names it. */
  #failed(known: Known): void {
    known.answers = false;
    known.peers = new Set();
    const isNamed = [...this.#known.values()].some(
      ({ peers }) => known.id !== undefined && peers.has(known.id),
    );
    if (!known.isConfigured && !isNamed) this.#forget(known);
  }

  #forget({ address, watch }: Known): void {
    watch.close();
    this.#known.delete(address);
  }

  async #open(address: string): Promise<Redis> {
    const { connectionName = '' } = this.options;
    const options = { ...(await this.read()), connectionName };
    this.options = options;
    if (!this.#closed) this.#followConfigured();
    return new Redis({
      ...hostAndPort(address),
      ...(options.sentinelUsername && { username: options.sentinelUsername }),
      ...(options.sentinelPassword && { password: options.sentinelPassword }),
      ...(options.sentinelTLS && { tls: options.sentinelTLS }),
      ...(options.family && { family: options.family }),
      connectTimeout: SENTINEL_TIMEOUT_MS,
      connectionName,
      enableReadyCheck: false,
      retryStrategy: null,
      protocol: 2,
    });
  }
}
