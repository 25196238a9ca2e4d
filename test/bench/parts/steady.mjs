/**
 * Does one process of a group keep up with 10,000 expiries a second for a minute? Once with all
 * keys there before it begins, and once with as many keys a second written as run out.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { send, setCommands } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { deadlinesFor, produce } from '../producers.mjs';

/** @typedef {'before' | 'meanwhile'} Written when the keys are written */

/**
 * @typedef {object} SteadyFigures
 * @property {Written} written
 * @property {number} perSecond
 * @property {number} seconds
 */
/** @typedef {import('../measure.mjs').Tally & SteadyFigures} SteadyRun */

const PER_SECOND = 10_000;
const CONCURRENCY = 1_000;
/** Ms that a key lives which is written while others run out. */
const LIFE = 5_000;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<SteadyRun[]>}
 */
export async function steady({ path, quick, log }) {
  const runs = [];
  for (const written of /** @type {const} */ (['before', 'meanwhile']))
    runs.push(
      await once({
        path,
        written,
        seconds: quick ? 5 : 60,
        log: (line) => log(`written ${written}: ${line}`),
      }),
    );
  return runs;
}

/**
 * @param {object} options
 * @param {string} options.path
 * @param {Written} options.written
 * @param {number} options.seconds
 * @param {(line: string) => void} options.log
 * @returns {Promise<SteadyRun>}
 */
async function once({ path, written, seconds, log }) {
  const server = await RedisServer.start({ path });
  const { port } = server;
  const redis = new Redis(port, '127.0.0.1');
  const expected = PER_SECOND * seconds;
  try {
    const { contender: child } = await Contender.start('library', {
      port,
      expected,
      concurrency: CONCURRENCY,
      group: 'bench',
    });
    try {
      const deadlines =
        written === 'before'
          ? deadlinesFor('library', expected, seconds * 1_000)
          : fromNowOn(expected);
      const tally = await measure({
        redis,
        children: [child],
        deadlines,
        produce: () =>
          written === 'before'
            ? produce('library', port, deadlines, log)
            : write(port, deadlines, log),
        patience: 30_000,
        log,
      });
      const { handled, duplicates, p50, p99, max, redisCpu, nodeCpu } = tally;
      log(
        `${handled} of ${expected}, ${duplicates} twice, p50 ${p50}, p99 ${p99}, max ${max} ms; CPU: Redis ${redisCpu} s, Node ${nodeCpu} s`,
      );
      return { written, perSecond: PER_SECOND, seconds, ...tally };
    } finally {
      await child.stop();
    }
  } finally {
    redis.disconnect();
    await server.stop();
  }
}

/** @param {number} count */
function fromNowOn(count) {
  const first = Date.now() + LIFE;
  return Array.from({ length: count }, (_, i) =>
    Math.floor(first + (i * 1_000) / PER_SECOND),
  );
}

/**
 * @param {number} port
 * @param {readonly number[]} deadlines ascending
 * @param {(line: string) => void} log
 */
async function write(port, deadlines, log) {
  const last = deadlines.at(-1) ?? 0;
  const words = (/** @type {number} */ i) => [
    `due:${i}`,
    '1',
    'PXAT',
    `${deadlines[i]}`,
  ];
  // Small pieces: what is written at once must not look like a rush.
  await send(port, setCommands(deadlines.length, words, 100), PER_SECOND);
  const left = last - Date.now();
  if (left < LIFE / 2)
    log(`the machine is slow: the last keys had ${left} ms to live`);
}
