/** What a server says of itself. */
import { setTimeout as delay } from 'node:timers/promises';

/** @typedef {import('ioredis').Redis} Redis */

/**
 * @param {Redis} redis
 * @param {string} section
 * @param {string[]} fields
 */
async function numbers(redis, section, fields) {
  const info = await redis.info(section);
  return fields.map((field) => {
    const value = new RegExp(`^${field}:(\\S+)`, 'm').exec(info)?.[1];
    if (value === undefined) throw new Error(`INFO does not tell ${field}`);
    return Number(value);
  });
}

/**
 * @param {Redis} redis
 * @returns {Promise<number>} seconds of CPU time that the server has used
 */
export async function serverCpu(redis) {
  const [sys = 0, user = 0] = await numbers(redis, 'cpu', [
    'used_cpu_sys',
    'used_cpu_user',
  ]);
  return sys + user;
}

/**
 * @param {Redis} redis
 * @returns {Promise<number>} bytes
 */
export async function usedMemory(redis) {
  const [bytes = 0] = await numbers(redis, 'memory', ['used_memory']);
  return bytes;
}

/**
 * The memory when nothing changes any more: no connection's buffers, no table that still grows.
 *
 * @param {Redis} redis
 * @param {number} [interval] ms between two looks
 */
export async function settledMemory(redis, interval = 1_000) {
  for (;;) {
    const before = await usedMemory(redis);
    await delay(interval);
    const after = await usedMemory(redis);
    if (Math.abs(after - before) < 10_000) return after;
  }
}

/**
 * @param {Redis} redis
 * @returns {Promise<number>} commands that the server has run, this one not counted
 */
export async function commandsRun(redis) {
  const [count = 0] = await numbers(redis, 'stats', [
    'total_commands_processed',
  ]);
  return count;
}

/**
 * Takes out whatever matches.
 *
 * @param {Redis} redis
 * @param {string[]} patterns
 */
export async function removeKeys(redis, patterns) {
  for (const pattern of patterns) {
    let cursor = '0';
    do {
      const [next, keys] = await redis.scan(
        cursor,
        'MATCH',
        pattern,
        'COUNT',
        10_000,
      );
      if (keys.length > 0) await redis.unlink(...keys);
      cursor = next;
    } while (cursor !== '0');
  }
}
