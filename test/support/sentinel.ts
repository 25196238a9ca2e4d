import { afterAll, beforeAll, beforeEach } from 'vitest';
import { eventually } from './eventually.js';
import { PATIENCE_MS } from './patience.js';
import { type Promotion, firstPromoted, replicated } from './promotion.js';
import {
  agreed,
  configOf,
  primaryPort,
  quicken,
} from './sentinel/sentinels.js';
import { TestServer, type TestServerOptions } from './servers.js';

export interface TestSentinelOptions extends Pick<
  TestServerOptions,
  'path' | 'login'
> {
  replicas?: number;
  /** Ms without an answer after which a server is down. */
  downAfter?: number;
  /** Sentinels and servers name themselves and each other by `localhost`. */
  hostnames?: boolean;
  /** Of the servers, not of the Sentinels. */
  args?: readonly string[];
}

/** What Sentinels do all the time on their own; for what they may take long to notice. */
const PATIENCE = { timeout: PATIENCE_MS, interval: 20 };

/**
 * A primary with replicas, and three Sentinels who replace it when it fails. What changes it
 * resolves when the Sentinels and the servers agree that it is so.
 */
export class TestSentinel {
  readonly name = 'expiring';
  /** Primary and replicas, those that were killed included: first the primary of the start. */
  servers: TestServer[] = [];
  #sentinels: TestServer[] = [];

  constructor(private readonly options: TestSentinelOptions = {}) {}

  /** For ioredis: `{ sentinels, name }`. */
  get sentinels(): { host: string; port: number }[] {
    return this.#sentinels.map(({ host, port }) => ({ host, port }));
  }

  get sentinelServers(): readonly TestServer[] {
    return this.#sentinels;
  }

  async start(): Promise<void> {
    const { replicas = 2, path, login, downAfter = 500 } = this.options;
    const { hostnames = false } = this.options;
    const primary = await this.#launch();
    await Promise.all(
      Array.from({ length: replicas }, () => this.#launch(primary)),
    );
    // Sentinels ask a primary for its replicas at once, and again only after some time.
    await eventually(async () => {
      const info = await primary.redis.info('replication');
      const linked = info.match(/state=online/g)?.length ?? 0;
      if (linked < replicas) throw new Error(`Not all are linked: ${info}`);
    }, PATIENCE);
    await Promise.all(
      // The last one notices later. Else all three may vote for themselves, and nobody is elected.
      [downAfter, downAfter, downAfter + 300].map(async (ms) => {
        const config = configOf(this.name, primary, {
          login,
          downAfter: ms,
          hostnames,
        });
        const options = { path, config, args: ['--sentinel'] };
        this.#sentinels.push(await new TestServer(options).start());
      }),
    );
    await Promise.all(this.#sentinels.map(quicken));
    await this.settled();
  }

  async stop(): Promise<void> {
    const all = [...this.#sentinels.splice(0), ...this.servers.splice(0)];
    await Promise.all(all.map((server) => server.stop()));
  }

  /** Starts what was killed, and removes all keys. Who is the primary stays as it is. */
  async reset(): Promise<void> {
    for (const server of [...this.#sentinels, ...this.servers])
      if (!server.process.running) await server.restart();
    await Promise.all(this.#sentinels.map(quicken));
    await this.settled();
    await Promise.all(this.servers.map((server) => server.reset()));
    await this.wait();
  }

  /** The present one, as most of the Sentinels have it. */
  async primary(): Promise<TestServer> {
    const port = await primaryPort(this.#liveSentinels, this.name);
    const primary = this.servers.find((server) => server.port === port);
    if (!primary) throw new Error(`The Sentinels name port ${port}.`);
    return primary;
  }

  /** The live ones. */
  async replicas(): Promise<TestServer[]> {
    const primary = await this.primary();
    return this.servers.filter((s) => s !== primary && s.process.running);
  }

  /** Resolves when the replicas have all that was written. */
  async wait(): Promise<void> {
    await replicated(await this.primary(), await this.replicas());
  }

  /**
   * Resolves when the Sentinels agree on who is the primary, know one another and the live servers,
   * and these follow that primary and are in sync.
   */
  async settled(except?: TestServer): Promise<void> {
    const live = this.servers.filter(
      (server) => server !== except && server.process.running,
    );
    await eventually(
      () => agreed(this.name, this.#liveSentinels, live),
      PATIENCE,
    );
  }

  /** SIGKILL. Resolves with the time of its end. */
  async kill(server: TestServer): Promise<number> {
    await server.kill();
    return Date.now();
  }

  /** What was killed comes back, with an empty memory: as a replica where it has been replaced. */
  async restart(server: TestServer): Promise<void> {
    await server.restart();
    await this.settled();
  }

  /**
   * Resolves when a replica took over from the primary, which is dead or hangs, or soon will be:
   * call it at once, for the time of the promotion is that at which it is seen.
   */
  async untilPromoted(): Promise<Promotion> {
    const old = await this.primary();
    return this.#promoted(old, old);
  }

  /** By command, with all servers alive. */
  async failover(): Promise<Promotion> {
    const old = await this.primary();
    const promoted = this.#promoted(old);
    promoted.catch(() => undefined);
    // They refuse at first: no replica has told its state yet, or another failover is not over.
    await eventually(
      () =>
        this.#liveSentinels[0]!.redis.call('SENTINEL', 'FAILOVER', this.name),
      PATIENCE,
    );
    return promoted;
  }

  async #promoted(old: TestServer, except?: TestServer): Promise<Promotion> {
    const promotion = await firstPromoted(
      this.servers.filter((each) => each !== old && each.process.running),
    );
    await eventually(async () => {
      const primary = await this.primary();
      if (primary !== promotion.server)
        throw new Error(`${primary.address} is the primary.`);
    }, PATIENCE);
    await this.settled(except);
    return promotion;
  }

  get #liveSentinels(): TestServer[] {
    return this.#sentinels.filter(({ process }) => process.running);
  }

  async #launch(primary?: TestServer): Promise<TestServer> {
    const { path, login, hostnames, args = [] } = this.options;
    const password = login?.password;
    const server = new TestServer({
      ...{ path, login },
      // A file, for Sentinels write there who follows whom: so it outlives a crash.
      config: primary ? { replicaof: `${primary.host} ${primary.port}` } : {},
      args: [
        ...['--repl-diskless-sync-delay', '0'],
        ...['--repl-ping-replica-period', '1'],
        ...(password
          ? ['--requirepass', password, '--masterauth', password]
          : []),
        ...(hostnames ? ['--replica-announce-ip', 'localhost'] : []),
        ...args,
      ],
    });
    await server.start();
    this.servers.push(server);
    return server;
  }
}

/** For the tests of a file. A failover outlives its test, which then has another primary. */
export function useSentinel(options?: TestSentinelOptions): TestSentinel {
  const sentinel = new TestSentinel(options);
  beforeAll(() => sentinel.start());
  beforeEach(() => sentinel.reset());
  afterAll(() => sentinel.stop());
  return sentinel;
}
