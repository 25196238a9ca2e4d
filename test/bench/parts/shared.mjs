/**
 * Do the processes of a group share the work, and is it on time? Three of them, one of which watches
 * as well, in a database in which a million other keys with a time to live lie around.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { addOthers, deadlinesFor, produce } from '../producers.mjs';
import { round } from '../stats.mjs';

/**
 * @typedef {object} SharedFigures
 * @property {number} others keys with a time to live that lie around
 * @property {number} over ms from the first deadline to the last
 * @property {number} leastShare of all, of the process that handled the fewest
 */
/** @typedef {import('../measure.mjs').Tally & SharedFigures} SharedRun */

const PROCESSES = 3;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<SharedRun>}
 */
export async function shared({ path, quick, filters, log }) {
  const expected = quick ? 2_000 : 10_000;
  const over = quick ? 4_000 : 20_000;
  const others = filters.others?.[0] ?? (quick ? 10_000 : 1_000_000);
  const server = await RedisServer.start({ path });
  const { port } = server;
  const redis = new Redis(port, '127.0.0.1');
  /** @type {Contender[]} */
  const children = [];
  try {
    await addOthers(port, 0, others);
    for (let i = 0; i < PROCESSES; i++) {
      const { contender } = await Contender.start('library', {
        port,
        expected,
        group: 'bench',
      });
      children.push(contender);
    }
    const deadlines = deadlinesFor('library', expected, over);
    const tally = await measure({
      redis,
      children,
      deadlines,
      produce: () => produce('library', port, deadlines, log),
      patience: 60_000,
      log,
    });
    const { handled, duplicates, shares, p50, p99, max } = tally;
    log(
      `${handled} of ${expected}, ${duplicates} twice, shares ${shares.join(', ')}, p50 ${p50}, p99 ${p99}, max ${max} ms; ` +
        `CPU: Redis ${tally.redisCpu} s, Node ${tally.nodeCpu} s`,
    );
    const leastShare = round(Math.min(...shares) / expected, 4);
    return { others, over, leastShare, ...tally };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    redis.disconnect();
    await server.stop();
  }
}
