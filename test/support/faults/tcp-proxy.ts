import { once } from 'node:events';
import {
  type AddressInfo,
  type Server,
  type Socket,
  connect,
  createServer,
} from 'node:net';

/** Ms between two portions of what is throttled. */
const TICK = 50;

/** What a proxy does to every connection from the start. */
export interface TcpProxyOptions {
  /** Ms that bytes are under way, in each direction. */
  readonly latency?: number;
}

/** One connection through the proxy. */
class Link {
  silent = false;
  #waiting: Buffer[] | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** The port from which the server sees it come; unset where it was silent from the start. */
  get upstreamPort(): number | undefined {
    return this.upstream?.localPort;
  }

  constructor(
    readonly client: Socket,
    readonly upstream: Socket | undefined,
    private readonly latency: number,
    onClientClosed: () => void,
  ) {
    if (!upstream) this.silent = true;
    // Read even when silent: what nobody reads would hide that the client closed.
    client.on('data', (bytes) => {
      this.#later(() => upstream?.write(bytes));
    });
    upstream?.on('data', (bytes) => {
      if (this.#waiting) this.#waiting.push(bytes);
      else this.#later(() => client.write(bytes));
    });
    client.on('error', () => undefined);
    upstream?.on('error', () => undefined);
    client.on('end', () => client.end());
    client.on('close', () => {
      onClientClosed();
      clearInterval(this.#timer);
      this.#later(() => upstream?.destroy());
    });
    upstream?.on('end', () => upstream.end());
    upstream?.on('close', () => this.#later(() => client.destroy()));
  }

  /** Hands something on after the time that it is under way, unless the connection is silent by then. */
  #later(handOn: () => void): void {
    const unlessSilent = (): void => {
      if (!this.silent) handOn();
    };
    // Timers of equal length go off in the order in which they were set.
    if (this.latency > 0) setTimeout(unlessSilent, this.latency);
    else unlessSilent();
  }

  /** From here on what the server says reaches the client no faster. */
  throttle(bytesPerSecond: number): void {
    this.#waiting = [];
    this.#timer = setInterval(() => {
      const waiting = Buffer.concat(this.#waiting!);
      const now = waiting.subarray(0, bytesPerSecond / (1_000 / TICK));
      this.#waiting = [waiting.subarray(now.length)];
      if (!this.silent) this.client.write(now);
    }, TICK);
  }

  destroy(): void {
    clearInterval(this.#timer);
    this.client.destroy();
    this.upstream?.destroy();
  }
}

/**
 * Stands between a client and a server, and does to the network what a test asks for: passes
 * everything, falls silent (takes bytes both ways and hands on nothing, not even that a side
 * closed), is far away (`latency`) or slow, refuses new connections, or cuts those that exist.
 * Passes at first.
 */
export class TcpProxy {
  readonly #links = new Set<Link>();
  #server: Server | undefined;
  #newAreSilent = false;
  /** Connections that clients have open now. */
  connections = 0;
  /** Connections that clients ever made. */
  accepted = 0;

  private constructor(
    private target: number,
    readonly port: number,
    private readonly latency: number,
  ) {}

  static async start(
    target: number,
    { latency = 0 }: TcpProxyOptions = {},
  ): Promise<TcpProxy> {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    const proxy = new TcpProxy(target, port, latency);
    await proxy.#listen();
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** New connections pass. Those that are silent stay so. */
  async pass(): Promise<void> {
    this.#newAreSilent = false;
    await this.#listen();
  }

  /** New connections go to the server at another port. Those that exist stay where they are. */
  leadTo(target: number): void {
    this.target = target;
  }

  /** Every connection falls silent, and new ones are from their first byte on. */
  silence(): void {
    this.#newAreSilent = true;
    for (const link of this.#links) link.silent = true;
  }

  /** Connections that the server sees come from one of the ports fall silent; new ones pass. */
  silenceOnly(upstreamPorts: readonly number[]): void {
    for (const link of this.#links)
      if (upstreamPorts.includes(link.upstreamPort ?? -1)) link.silent = true;
  }

  /** The connections that exist become slow, in what the server says. */
  throttle(bytesPerSecond: number): void {
    for (const link of this.#links) link.throttle(bytesPerSecond);
  }

  /** New connections are refused. Those that exist go on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // Not waited for: `close` ends when the last connection has.
    server?.close();
    await Promise.resolve();
  }

  /** Cuts every connection, as a crashed machine's neighbour would. */
  cut(): void {
    for (const link of this.#links) link.client.resetAndDestroy();
    for (const link of this.#links) link.destroy();
    this.#links.clear();
  }

  async close(): Promise<void> {
    await this.refuse();
    this.cut();
  }

  async #listen(): Promise<void> {
    if (this.#server) return;
    const server = createServer({ allowHalfOpen: true }, (client) => {
      this.accepted++;
      this.connections++;
      const upstream = this.#newAreSilent
        ? undefined
        : connect({ port: this.target, host: '127.0.0.1' });
      const { latency } = this;
      const link = new Link(client, upstream, latency, () => {
        this.connections--;
      });
      this.#links.add(link);
    });
    this.#server = server;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }
}
