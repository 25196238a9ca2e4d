/** A Redis Cluster of primaries only, and many keys for it, each sent straight to its node. */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../support/redis/redis-server.mjs';
import { setKeys } from './bulk.mjs';

const SLOTS = 16_384;
const FORMING_MS = 30_000;

export class ClusterNodes {
  /** @type {readonly RedisServer[]} */
  #servers;
  /** A connection to each node. @type {readonly Redis[]} */
  connections;

  /** @param {readonly RedisServer[]} servers */
  constructor(servers) {
    this.#servers = servers;
    this.connections = servers.map(({ port }) => new Redis(port, '127.0.0.1'));
  }

  /**
   * Resolves when every node serves its share of the slots and knows the others.
   *
   * @param {string} path of the server program
   * @param {number} size
   */
  static async start(path, size) {
    /** @type {RedisServer[]} */
    const servers = [];
    const args = [
      ...['--cluster-enabled', 'yes'],
      ...['--cluster-config-file', 'nodes.conf'],
      // A node that never met another one does not know its address.
      ...['--cluster-announce-ip', '127.0.0.1'],
    ];
    try {
      for (let i = 0; i < size; i++)
        servers.push(await RedisServer.start({ path, args }));
    } catch (error) {
      await Promise.all(servers.map((server) => server.stop()));
      throw error;
    }
    const cluster = new ClusterNodes(servers);
    try {
      await cluster.#form();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  get size() {
    return this.#servers.length;
  }

  /** Where a client may ask for the others. */
  get port() {
    return this.#servers[0]?.port ?? 0;
  }

  async #form() {
    for (const [i, redis] of this.connections.entries()) {
      await redis.cluster('SET-CONFIG-EPOCH', i + 1);
      const [first, end] = [this.#firstSlot(i), this.#firstSlot(i + 1)];
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', first, end - 1);
    }
    for (const { port } of this.#servers.slice(1))
      await this.connections[0]?.cluster('MEET', '127.0.0.1', port);
    const end = Date.now() + FORMING_MS;
    for (const redis of this.connections)
      while (!(await this.#isWell(redis))) {
        if (Date.now() >= end) throw new Error('The Cluster does not come up');
        await delay(50);
      }
  }

  /** @param {Redis} redis */
  async #isWell(redis) {
    const info = String(await redis.cluster('INFO'));
    return (
      info.includes('cluster_state:ok') &&
      info.includes(`cluster_known_nodes:${this.size}\r`)
    );
  }

  /** @param {number} node */
  #firstSlot(node) {
    return Math.ceil((node * SLOTS) / this.size);
  }

  /**
   * Sets keys on all nodes at once.
   *
   * @param {number} count
   * @param {(i: number) => [key: string, ...rest: string[]]} words what follows SET, ASCII; a key has no hash tag
   * @returns {Promise<number[]>} how many keys each node got
   */
  async setKeys(count, words) {
    const shares = this.#servers.map(() => /** @type {number[]} */ ([]));
    for (let i = 0; i < count; i++) {
      shares[this.nodeOf(words(i)[0])]?.push(i);
    }
    await Promise.all(
      this.#servers.map(({ port }, node) => {
        const share = shares[node] ?? [];
        return setKeys(port, share.length, (n) => words(share[n] ?? 0));
      }),
    );
    return shares.map(({ length }) => length);
  }

  /** Which node serves a key, ASCII and without a hash tag, by its place. @param {string} key */
  nodeOf(key) {
    return Math.floor((slotOf(key) * this.size) / SLOTS);
  }

  async stop() {
    for (const redis of this.connections) redis.disconnect();
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

/** @param {string} key ASCII, without a hash tag */
function slotOf(key) {
  let crc = 0;
  for (let i = 0; i < key.length; i++) {
    crc ^= key.charCodeAt(i) << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1;
  }
  return crc % SLOTS;
}
