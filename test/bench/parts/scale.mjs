/**
 * Does a group grow with its Cluster? Three processes handle what falls due all at once, first on a
 * Cluster of one primary, then on one of three. The handler does nothing. On a machine with few cores
 * the processes and the servers compete for them: the figures of CPU tell what there was to share.
 */
import { ClusterNodes } from '../cluster-nodes.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { deadlinesFor, dueKey } from '../producers.mjs';
import { median, round } from '../stats.mjs';

/**
 * @typedef {object} ScaleRun
 * @property {string} date
 * @property {number} primaries
 * @property {number} processes
 * @property {number} expected a round
 * @property {number} over ms from the first deadline to the last
 * @property {number} handled a round, the least
 * @property {number} duplicates a round, the most
 * @property {number[]} rates handled a second, each round, from the first deadline to the last handler
 * @property {number} rate the median
 * @property {number} redisCpu seconds, of all servers, writing the keys included: the median
 * @property {number} nodeCpu seconds, of all processes: the median
 */

const PROCESSES = 3;
const SIZES = /** @type {const} */ ([1, 3]);
const CONCURRENCY = 1_000;
const OVER = 200;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<ScaleRun[]>}
 */
export async function scale({ path, quick, log }) {
  const expected = quick ? 2_000 : 50_000;
  const rounds = quick ? 1 : 3;
  /** @type {Map<number, import('../measure.mjs').Tally[]>} */
  const tallies = new Map(SIZES.map((size) => [size, []]));
  for (let i = 0; i < rounds; i++)
    // A B, B A, A B…: a machine that gets slower or faster meanwhile favours none.
    for (const size of i % 2 === 0 ? SIZES : SIZES.toReversed()) {
      const tally = await once({ path, size, expected, log });
      tallies.get(size)?.push(tally);
      log(
        `${size} primaries, round ${i + 1} of ${rounds}: ${tally.handled} of ${expected}, ${tally.duplicates} twice, ` +
          `${rateOf(tally)} a second; CPU: Redis ${tally.redisCpu} s, Node ${tally.nodeCpu} s`,
      );
    }
  return [...tallies].map(([primaries, all]) => ({
    date: new Date().toISOString(),
    primaries,
    processes: PROCESSES,
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
 * @param {number} options.size
 * @param {number} options.expected
 * @param {(line: string) => void} options.log
 */
async function once({ path, size, expected, log }) {
  const nodes = await ClusterNodes.start(path, size);
  /** @type {Contender[]} */
  const children = [];
  try {
    for (let i = 0; i < PROCESSES; i++) {
      const { contender } = await Contender.start('library', {
        port: nodes.port,
        cluster: true,
        expected,
        concurrency: CONCURRENCY,
        group: 'bench',
      });
      children.push(contender);
    }
    const deadlines = deadlinesFor('library', expected, OVER);
    return await measure({
      redis: nodes.connections,
      children,
      deadlines,
      produce: async () => {
        await nodes.setKeys(expected, (i) => dueKey(i, deadlines));
      },
      patience: 60_000,
      log,
    });
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    await nodes.stop();
  }
}
