import type { Cluster, Redis, RedisOptions } from 'ioredis';
import { ownClientOptions } from '../connection/client-options.js';
import { CommandClient } from '../connection/command-client.js';
import { disconnect } from '../connection/connection.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { within } from '../util/within.js';
import { hostAndPort } from './cluster-view.js';

/**
 * Finds nodes of a Cluster the way the user's client does, by its start-up nodes (SRV records, DNS
 * and NAT included), and makes clients for any of its nodes with the user's options. The
 * `ClusterScout` has it search while no node that is known answers.
 */
export class ClusterSeeds {
  /** Addresses of the nodes that were found. */
  addresses: readonly string[] = [];
  /** Why the newest search failed. */
  lastError: string | undefined;
  /** Clients that hold the options; never connected by the module. */
  readonly #templates = new Map<string, Redis>();
  /** What the user's options for nodes said when these were found. */
  #foundBy: RedisOptions = {};
  #searching: Cluster | undefined;
  /** Finds out why a start-up node cannot be reached. */
  #probe: Redis | undefined;
  #closed = false;

  constructor(
    private readonly target: ConnectionTarget,
    private readonly name: string,
  ) {}

  /** Searches once. Resolves with whether nodes were found; never rejects. */
  async find(): Promise<boolean> {
    let template: Cluster;
    try {
      template = await this.#template();
    } catch (error) {
      this.lastError = reasonOf(error);
      return false;
    }
    if (this.#closed) return false;
    const redisOptions = { ...template.options.redisOptions };
    const cluster = template.duplicate([], {
      ...template.options,
      keyPrefix: '',
      lazyConnect: true,
      // Half a Cluster is enough to find the rest.
      enableReadyCheck: false,
      enableAutoPipelining: false,
      clusterRetryStrategy: null,
      clusterNodeRetryStrategy: null,
      scaleReads: 'master',
      shardedSubscribers: false,
      scripts: undefined,
      himportFieldsets: undefined,
      slotsRefreshInterval: 0,
      redisOptions: {
        ...redisOptions,
        ...ownClientOptions(this.name),
      },
    });
    this.#searching = cluster;
    let first: Redis | undefined;
    cluster.on('+node', (node: Redis) => (first ??= node));
    cluster.on('error', (error: Error & { lastNodeError?: Error }) => {
      const { message } = error.lastNodeError ?? error;
      // ioredis tells nobody why it closed the connection.
      if (message === CLOSED) this.#explain(first);
      else this.lastError = message;
    });
    try {
      await cluster.connect();
      const nodes = cluster.nodes('all');
      for (const node of nodes) this.#templates.set(addressOf(node), node);
      if (nodes.length > 0) this.#foundBy = redisOptions;
      this.addresses = nodes.map(addressOf);
      this.#endProbe();
      // ioredis leaves out what has no address: a node that never met another does not know its own.
      this.lastError = nodes.length > 0 ? undefined : NO_ADDRESS;
      return nodes.length > 0;
    } catch (error) {
      this.lastError ??= (error as Error).message;
      return false;
    } finally {
      this.#searching = undefined;
      cluster.disconnect();
    }
  }

  /**
   * Makes a client for a node, whether it was found here or another node named it, by what the user's
   * options say now. It is not connected yet, and connects once.
   */
  async open(address: string): Promise<Redis> {
    const [any] = this.#templates.values();
    const template = this.#templates.get(address) ?? any;
    if (!template) throw new Error('no node of the Cluster is known yet');
    const changed = await this.#changed();
    return template.duplicate({
      ...changed,
      ...ownClientOptions(this.name),
      ...hostAndPort(address),
    });
  }

  /** A connection for commands to one node, which the caller closes. */
  connect(address: string, log: Log): CommandClient {
    const { connectTimeout, retryDelay } = this.target;
    const open = (): Promise<Redis> => this.open(address);
    return new CommandClient({ open, connectTimeout, retryDelay, log });
  }

  /** What the user's client, options or function say now. */
  async #template(): Promise<Cluster> {
    return (await this.target.template()) as Cluster;
  }

  /** What the user's options for nodes say by now that they did not say when the nodes were found: a new password, say. */
  async #changed(): Promise<RedisOptions> {
    const { redisOptions } = (await this.#template()).options;
    const before = Object.entries(this.#foundBy);
    return Object.fromEntries(
      Object.entries({ ...redisOptions }).filter(
        ([name, value]) =>
          !before.some(([other, was]) => other === name && was === value),
      ),
    );
  }

  /** Ends a search that is under way. */
  close(): void {
    this.#closed = true;
    this.#searching?.disconnect();
    this.#endProbe();
  }

  /** Connects to a start-up node once more, to hear why it refuses. */
  #explain(node: Redis | undefined): void {
    if (!node || this.#probe) return;
    const probe = node.duplicate(ownClientOptions(this.name));
    this.#probe = probe;
    const address = addressOf(probe);
    probe.on('error', ({ message }: Error) => {
      this.lastError = message.includes(address)
        ? message
        : `${address}: ${message}`;
    });
    // The connection may be let in, and never refused.
    void within(this.target.connectTimeout, probe.connect())
      .catch(() => undefined)
      .then(() => {
        if (this.#probe === probe) this.#endProbe();
      });
  }

  #endProbe(): void {
    if (this.#probe) disconnect(this.#probe);
    this.#probe = undefined;
  }
}

/** Why a search that succeeded found nothing. */
const NO_ADDRESS =
  'the start-up nodes tell of no node by its address; cluster-announce-ip gives a node one';

/** What ioredis says of a connection of its own that was never made. */
const CLOSED = 'Connection is closed.';

const addressOf = ({ options }: Redis): string =>
  `${options.host}:${options.port}`;
