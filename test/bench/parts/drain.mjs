/**
 * How fast does one process of a group handle what falls due all at once? The same deadlines for
 * BullMQ and one worker. The handler does nothing; a server of its own for each run.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { deadlinesFor, produce } from '../producers.mjs';
import { median, round } from '../stats.mjs';

/**
 * @typedef {object} DrainRun
 * @property {string} date
 * @property {'library' | 'bullmq'} contender
 * @property {number} concurrency
 * @property {number} expected a round
 * @property {number} over ms from the first deadline to the last
 * @property {number} handled a round, the least
 * @property {number} duplicates a round, the most
 * @property {number[]} rates handled a second, each round, from the first deadline to the last handler
 * @property {number} rate the median
 * @property {number} redisCpu seconds, writing the keys or jobs included: the median
 * @property {number} nodeCpu seconds: the median
 */

/** Of 100, 300, 1,000 and 2,000, none was clearly faster for either. */
const concurrencies = /** @type {const} */ ({ library: 1_000, bullmq: 1_000 });
const OVER = 200;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<DrainRun[]>}
 */
export async function drain({ path, quick, filters, log }) {
  const expected = quick ? 2_000 : 50_000;
  const rounds = quick ? 1 : 3;
  const names = /** @type {const} */ (['library', 'bullmq']).filter(
    filters.contender,
  );
  /** @type {Map<'library' | 'bullmq', import('../measure.mjs').Tally[]>} */
  const tallies = new Map(names.map((name) => [name, []]));
  for (let i = 0; i < rounds; i++)
    // A B, B A, A B…: a machine that gets slower or faster meanwhile favours none.
    for (const contender of i % 2 === 0 ? names : names.toReversed()) {
      const tally = await once({ path, contender, expected, log });
      tallies.get(contender)?.push(tally);
      log(
        `${contender}, round ${i + 1} of ${rounds}: ${tally.handled} of ${expected}, ${tally.duplicates} twice, ` +
          `${rateOf(tally)} a second; CPU: Redis ${tally.redisCpu} s, Node ${tally.nodeCpu} s`,
      );
    }
  return [...tallies].map(([contender, all]) => ({
    date: new Date().toISOString(),
    contender,
    concurrency: concurrencies[contender],
    expected,
    over: OVER,
    handled: Math.min(...all.map(({ handled }) => handled)),
    duplicates: Math.max(...all.map(({ duplicates }) => duplicates)),
    rates: all.map(rateOf),
    rate: median(all.map(rateOf)),
    redisCpu: median(all.map(({ redisCpu }) => redisCpu)),
    nodeCpu: median(all.map(({ nodeCpu }) => nodeCpu)),
  }));
}

/** @param {import('../measure.mjs').Tally} tally */
const rateOf = ({ handled, took }) => round((handled / took) * 1_000);

/**
 * @param {object} options
 * @param {string} options.path
 * @param {'library' | 'bullmq'} options.contender
 * @param {number} options.expected
 * @param {(line: string) => void} options.log
 */
async function once({ path, contender, expected, log }) {
  const server = await RedisServer.start({ path });
  const { port } = server;
  const redis = new Redis(port, '127.0.0.1');
  try {
    const { contender: child } = await Contender.start(contender, {
      port,
      expected,
      concurrency: concurrencies[contender],
      group: 'bench',
    });
    try {
      const deadlines = deadlinesFor(contender, expected, OVER);
      return await measure({
        redis,
        children: [child],
        deadlines,
        produce: () => produce(contender, port, deadlines, log),
        patience: 60_000,
        log,
      });
    } finally {
      await child.stop();
    }
  } finally {
    redis.disconnect();
    await server.stop();
  }
}
