/**
 * What does it take of Redis's memory that a group knows a key's deadline? The same keys with and
 * without; and, beside it, as many delayed jobs of BullMQ's.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { Contender } from '../contender.mjs';
import { produce } from '../producers.mjs';
import { removeKeys, settledMemory } from '../redis-info.mjs';
import { round } from '../stats.mjs';

/**
 * @typedef {object} Memory bytes of Redis's `used_memory`
 * @property {number} keys
 * @property {number} nameLength of the keys, on average
 * @property {number} perKey of the key itself
 * @property {number} perEnrolled over that, in a group
 * @property {number} perJob of a delayed job
 */

const HOUR = 3_600_000;
/** Ms that a group may take to learn all deadlines. */
const PATIENCE = 60_000;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<Memory>}
 */
export async function memory({ path, quick, log }) {
  const keys = quick ? 20_000 : 200_000;
  const deadlines = Array.from(
    { length: keys },
    (_, i) => Date.now() + 2 * HOUR + i,
  );
  /** @param {(port: number, redis: Redis) => Promise<void>} work */
  const onServer = async (work) => {
    const server = await RedisServer.start({ path });
    const redis = new Redis(server.port, '127.0.0.1');
    try {
      await work(server.port, redis);
    } finally {
      redis.disconnect();
      await server.stop();
    }
  };
  const perOne = (/** @type {number} */ bytes) => round(bytes / keys, 1);
  const result = { keys, nameLength: 0, perKey: 0, perEnrolled: 0, perJob: 0 };

  await onServer(async (port, redis) => {
    const empty = await settledMemory(redis);
    await produce('library', port, deadlines, log);
    result.perKey = perOne((await settledMemory(redis)) - empty);
    // Once in vain: what scripts and the like leave behind is not per key.
    await enrolAll(port, redis, keys);
    await removeKeys(redis, ['rx:*']);
    const before = await settledMemory(redis);
    await enrolAll(port, redis, keys);
    const after = await settledMemory(redis);
    result.perEnrolled = perOne(after - before);
    result.nameLength = round(
      deadlines.reduce((sum, _, i) => sum + `due:${i}`.length, 0) / keys,
      1,
    );
  });
  await onServer(async (port, redis) => {
    const empty = await settledMemory(redis);
    await produce('bullmq', port, deadlines, log);
    result.perJob = perOne((await settledMemory(redis)) - empty);
  });
  log(
    `${result.perKey} bytes a key, ${result.perEnrolled} more in a group; ${result.perJob} a job of BullMQ's`,
  );
  return result;
}

/**
 * Has an instance of a group learn all deadlines, and ends it: connections take memory too.
 *
 * @param {number} port
 * @param {Redis} redis
 * @param {number} count
 */
async function enrolAll(port, redis, count) {
  const { contender } = await Contender.start('library', {
    port,
    expected: 1,
    group: 'bench',
  });
  try {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const [group] = (await contender.status()).groups;
      if (group.tracked === count) break;
      if (Date.now() > end) throw new Error(`${group.tracked} keys enrolled`);
      await delay(500);
    }
  } finally {
    await contender.stop();
  }
  await redis.config('SET', 'notify-keyspace-events', '');
}
