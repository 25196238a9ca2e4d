/**
 * What do values cost? 10,000 keys a second die, each with 60 bytes, once with a handler that asks for the value and once
 * without, in broadcast and in a group: how late, and how much of Redis each key takes.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { setKeys } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { deadlinesFor } from '../producers.mjs';
import { serverCpu } from '../redis-info.mjs';
import { round } from '../stats.mjs';

/**
 * @typedef {object} ValueFigures
 * @property {'broadcast' | 'group'} mode
 * @property {boolean} values whether the handler asks for them
 * @property {number} perSecond
 * @property {number} valued events that had their value
 * @property {number} redisPerKey µs of Redis for each key that died, writing it not included
 */
/** @typedef {import('../measure.mjs').Tally & ValueFigures} ValueRun */

const PER_SECOND = 10_000;
const VALUE = 'v'.repeat(60);

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<ValueRun[]>}
 */
export async function values({ path, quick, log }) {
  const runs = [];
  for (const mode of /** @type {const} */ (['broadcast', 'group']))
    for (const asks of [false, true])
      runs.push(await once({ path, mode, asks, seconds: quick ? 3 : 15, log }));
  return runs;
}

/**
 * @param {object} options
 * @param {string} options.path
 * @param {'broadcast' | 'group'} options.mode
 * @param {boolean} options.asks
 * @param {number} options.seconds
 * @param {(line: string) => void} options.log
 * @returns {Promise<ValueRun>}
 */
async function once({ path, mode, asks, seconds, log }) {
  const expected = PER_SECOND * seconds;
  const server = await RedisServer.start({ path });
  const redis = new Redis(server.port, '127.0.0.1');
  try {
    const { port } = server;
    const { contender: child } = await Contender.start('library', {
      ...{ port, expected, concurrency: 1_000 },
      ...(mode === 'group' && { group: 'bench' }),
      ...(asks && { value: 'text' }),
    });
    try {
      const deadlines = deadlinesFor('library', expected, seconds * 1_000);
      let written = 0;
      const tally = await measure({
        redis,
        children: [child],
        deadlines,
        produce: async () => {
          await setKeys(port, expected, (i) => [
            ...[`due:${i}`, VALUE, 'PXAT', `${deadlines[i]}`],
          ]);
          written = await serverCpu(redis);
        },
        patience: 30_000,
        log,
      });
      const used = (await serverCpu(redis)) - written;
      const { valued } = await child.status();
      const redisPerKey = round((used / expected) * 1e6, 2);
      const { handled, p50, p99, max } = tally;
      log(
        `${mode}, ${asks ? 'with' : 'without'} values: ${handled} of ${expected}, ${valued} with a value, p50 ${p50}, p99 ${p99}, max ${max} ms; ${redisPerKey} us of Redis a key`,
      );
      const figures = { mode, values: asks, perSecond: PER_SECOND };
      return { ...figures, valued, redisPerKey, ...tally };
    } finally {
      await child.stop();
    }
  } finally {
    redis.disconnect();
    await server.stop();
  }
}
