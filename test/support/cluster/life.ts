import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Cluster, type ClusterOptions } from 'ioredis';
import { onTestFinished } from 'vitest';
import { replicated } from '../promotion.js';
import type { TestServer } from '../servers.js';
import { type TestClusterOptions, form, startNode } from './forming.js';
import { Members } from './members.js';
import { pictureOf } from './view.js';

/** How a Cluster begins, ends, and becomes as new. */
export class ClusterLife {
  protected members = new Members();
  /** The replicas that primaries had when they were killed. */
  protected readonly orphans = new Map<TestServer, TestServer[]>();
  /** Every server that was started, those that are members no more included. */
  #started: TestServer[] = [];
  /** Who had which slots and replicas at the start. */
  #beginning = '';

  constructor(
    private readonly size: number,
    private readonly options: TestClusterOptions = {},
  ) {}

  /** All members, those that were killed included: first the primaries of the start. */
  get servers(): TestServer[] {
    return this.members.servers;
  }

  get nodes(): { host: string; port: number }[] {
    return this.servers.map(({ host, port }) => ({ host, port }));
  }

  async start(): Promise<void> {
    const count = this.size * (1 + (this.options.replicas ?? 0));
    const servers = await Promise.all(
      Array.from({ length: count }, (_, place) => this.#launch(place)),
    );
    for (const server of servers) await this.members.add(server);
    await form(this.members, this.size);
    this.#beginning = pictureOf(await this.members.agree(), this.members.ids);
  }

  async stop(): Promise<void> {
    const started = this.#started.splice(0);
    this.members = new Members();
    this.orphans.clear();
    await Promise.all(started.map((server) => server.stop()));
  }

  /** As after a start. Where roles, slots or nodes changed it is a new Cluster, which takes as long as one. */
  async reset(): Promise<void> {
    if (!(await this.#isAsInTheBeginning())) {
      await this.stop();
      await this.start();
      return;
    }
    await Promise.all(this.servers.map((server) => server.reset()));
    for (const primary of await this.primaries()) await this.replicate(primary);
  }

  /** All of it is lost, and another Cluster is made at the same addresses: its epochs begin anew. */
  async rebuild(): Promise<void> {
    const { servers } = this;
    await this.killAll();
    this.members = new Members();
    this.orphans.clear();
    await Promise.all(
      servers.map(async (server) => {
        const { dir } = server.process;
        for (const name of await readdir(dir))
          await rm(join(dir, name), { recursive: true });
        await server.restart();
      }),
    );
    for (const server of servers) await this.members.add(server);
    await form(this.members, this.size);
    this.#beginning = pictureOf(await this.members.agree(), this.members.ids);
  }

  /** SIGKILL to every member at once: nobody is asked who follows whom, as it may be dying. */
  async killAll(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
  }

  /** All come back, with empty memories and in the roles that they had. */
  async restartAll(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.restart()));
    await this.members.agree();
  }

  /** A client that is connected, and closed when the test is over. */
  async connect(options: ClusterOptions = {}): Promise<Cluster> {
    const { redisOptions } = options;
    const client = new Cluster(this.nodes, {
      ...options,
      redisOptions: {
        ...this.options.login,
        ...redisOptions,
        connectionName: 'test',
      },
    });
    onTestFinished(() => client.disconnect());
    await once(client, 'ready');
    return client;
  }

  /** The live ones, those without slots included. */
  primaries(): Promise<TestServer[]> {
    return this.members.which(({ role }) => role === 'primary');
  }

  /** The live ones. */
  replicas(): Promise<TestServer[]> {
    return this.members.which(({ role }) => role === 'replica');
  }

  replicasOf(primary: TestServer): Promise<TestServer[]> {
    const id = this.members.idOf(primary);
    // Not asked itself: it may hang.
    return this.members.which((node) => node.primaryId === id, primary);
  }

  /** A member that nobody has met yet. */
  protected async startNode(): Promise<TestServer> {
    const server = await this.#launch(this.#started.length);
    await this.members.add(server);
    return server;
  }

  protected async replicate(primary: TestServer): Promise<number> {
    const replicas = await this.replicasOf(primary);
    await replicated(primary, replicas);
    return replicas.length;
  }

  async #launch(place: number): Promise<TestServer> {
    const server = await startNode(this.options, place);
    this.#started.push(server);
    return server;
  }

  async #isAsInTheBeginning(): Promise<boolean> {
    const { members } = this;
    if (members.live().length < this.#started.length) return false;
    try {
      const view = await members.agree(undefined, { timeout: 5_000 });
      return pictureOf(view, members.ids) === this.#beginning;
    } catch {
      return false;
    }
  }
}
