/** A Redis Cluster of three primaries on this machine; its processes end with this one. */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../../test/support/redis/redis-server.mjs';

const SLOTS = 16_384;

/** Resolves with the ports of the nodes, once each of them serves its share of the slots and knows the others. */
export async function startCluster(size = 3) {
  const args = ['--cluster-enabled', 'yes'];
  const ports = [];
  for (let node = 0; node < size; node++)
    ports.push((await RedisServer.start({ args })).port);
  const clients = ports.map((port) => new Redis(port, '127.0.0.1'));

  for (const [node, client] of clients.entries()) {
    const first = Math.ceil((node * SLOTS) / size);
    const end = Math.ceil(((node + 1) * SLOTS) / size);
    const slots = Array.from({ length: end - first }, (_, i) => first + i);
    await client.cluster('SET-CONFIG-EPOCH', node + 1);
    await client.cluster('ADDSLOTS', ...slots);
    await client.cluster('MEET', '127.0.0.1', ports[0] ?? 0);
  }
  for (const client of clients) {
    while (!(await isWell(client, size))) await delay(50);
    client.disconnect();
  }
  return ports;
}

/**
 * @param {Redis} client
 * @param {number} size
 */
async function isWell(client, size) {
  const info = String(await client.cluster('INFO'));
  return (
    info.includes('cluster_state:ok') &&
    info.includes(`cluster_known_nodes:${size}\r`)
  );
}
