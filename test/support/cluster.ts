import { afterAll, beforeAll, beforeEach } from 'vitest';
import {
  type FailoverMode,
  failover,
  untilPromoted,
} from './cluster/failing.js';
import { type TestClusterOptions, meet, replicate } from './cluster/forming.js';
import { ClusterLife } from './cluster/life.js';
import { migrateSlots } from './cluster/migrating.js';
import { type MoveOptions, empty, moveSlots } from './cluster/moving.js';
import { type SlotRange, slotOf, slotsOf } from './cluster/slots.js';
import type { Promotion } from './promotion.js';
import type { TestServer } from './servers.js';

export { atomicMigration } from './cluster/migrating.js';
export { keyForSlot, keysForSlot, slotOf } from './cluster/slots.js';

/**
 * A real Cluster, each primary with its share of the slots and with as many replicas as asked for.
 * What changes it resolves when all live nodes agree that it is so.
 */
export class TestCluster extends ClusterLife {
  primaryOf(keyOrSlot: string | Buffer | number): Promise<TestServer> {
    const isSlot = typeof keyOrSlot === 'number';
    return this.members.ownerOf(isSlot ? keyOrSlot : slotOf(keyOrSlot));
  }

  /** A live replica of the primary. */
  async replicaOf(primary: TestServer): Promise<TestServer> {
    const [replica] = await this.replicasOf(primary);
    if (!replica) throw new Error(`${primary.address} has no replica.`);
    return replica;
  }

  /** Resolves when all live nodes agree and can serve, whatever happened to them. */
  async settled(): Promise<void> {
    await this.members.agree();
  }

  /** Resolves when the key's primary has replicated all that was written; with the number of replicas. */
  async wait(key: string | Buffer | number): Promise<number> {
    return this.replicate(await this.primaryOf(key));
  }

  /** Resolves when the replicas have all that the primary had; with the number of replicas. */
  replicated(primary: TestServer): Promise<number> {
    return this.replicate(primary);
  }

  /** SIGKILL. The others do not know it yet when it resolves, with the time of its end. */
  async kill(server: TestServer): Promise<number> {
    this.orphans.set(server, await this.replicasOf(server));
    await server.kill();
    return Date.now();
  }

  /** What was killed comes back, with an empty memory: as a replica where it has been replaced. */
  async restart(server: TestServer): Promise<void> {
    await server.restart();
    this.orphans.delete(server);
    await this.settled();
  }

  /**
   * Resolves when a replica of the primary took over, which is dead or hangs, or soon will be:
   * call it at once, for the time of the promotion is that at which it is seen.
   */
  async untilPromoted(primary: TestServer): Promise<Promotion> {
    const replicas =
      this.orphans.get(primary) ?? (await this.replicasOf(primary));
    return untilPromoted(this.members, primary, replicas);
  }

  failover(replica: TestServer, mode?: FailoverMode): Promise<Promotion> {
    return failover(this.members, replica, mode);
  }

  /** A new node, which has no slots yet. Takes 2 s: a new primary waits so long until it serves. */
  async addPrimary(): Promise<TestServer> {
    const server = await this.#addNode();
    await this.settled();
    return server;
  }

  async addReplica(of: TestServer): Promise<TestServer> {
    const server = await this.#addNode();
    await this.#follow(server, of);
    return server;
  }

  /** As `redis-cli --cluster reshard` does it. Keys may expire and be written meanwhile. */
  moveSlot(
    slot: number,
    to: TestServer,
    options: MoveOptions = {},
  ): Promise<void> {
    return moveSlots(this.members, [slot], to, options);
  }

  /** Slots that belong to one primary. */
  moveSlots(
    range: SlotRange,
    to: TestServer,
    options: MoveOptions = {},
  ): Promise<void> {
    return moveSlots(this.members, slotsOf(range), to, options);
  }

  /** Slots that belong to one primary, all at once: see `atomicMigration`. */
  migrateSlots(
    range: SlotRange,
    to: TestServer,
    microsPerKey?: number,
  ): Promise<void> {
    return migrateSlots(this.members, range, to, microsPerKey);
  }

  /** Its slots and its replicas go to others, who then forget it. */
  async removePrimary(
    server: TestServer,
    { keepRunning = false } = {},
  ): Promise<void> {
    const others = (await this.primaries()).filter((each) => each !== server);
    await empty(this.members, server, others);
    for (const replica of await this.replicasOf(server))
      await this.#follow(replica, others[0]!);
    const id = this.members.idOf(server);
    this.members.remove(server);
    for (const { redis } of this.members.live()) {
      await redis.cluster('FORGET', id).catch((error: Error) => {
        // Newer servers pass it on.
        if (!/Unknown node/i.test(error.message)) throw error;
      });
    }
    if (!keepRunning) await server.stop();
    await this.settled();
  }

  async #addNode(): Promise<TestServer> {
    const [known] = this.members.live();
    const server = await this.startNode();
    await meet(known!, server);
    return server;
  }

  async #follow(replica: TestServer, primary: TestServer): Promise<void> {
    await replicate(this.members, replica, primary);
    const [id, primaryId] = [replica, primary].map((each) =>
      this.members.idOf(each),
    );
    await this.members.agree((view) => view.get(id!)!.primaryId === primaryId);
  }
}

/** A Cluster for the tests of a file, as new before each of them. */
export function useCluster(
  size: number,
  options?: TestClusterOptions,
): TestCluster {
  const cluster = new TestCluster(size, options);
  beforeAll(() => cluster.start());
  beforeEach(() => cluster.reset());
  afterAll(() => cluster.stop());
  return cluster;
}
