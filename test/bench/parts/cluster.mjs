/**
 * Is a Cluster of three primaries, in which a million other keys with a time to live lie around, as
 * punctual as one server? Watched by one process that hears everything, and by one of a group.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterNodes } from '../cluster-nodes.mjs';
import { Contender } from '../contender.mjs';
import { measure } from '../measure.mjs';
import { deadlinesFor, dueKey, otherKey, tellIfLate } from '../producers.mjs';

/** @typedef {'broadcast' | 'group'} Mode how it is watched */

/**
 * @typedef {object} ClusterFigures
 * @property {Mode} mode
 * @property {number} primaries
 * @property {number} others keys with a time to live that lie around
 * @property {number} over ms from the first deadline to the last
 * @property {number[]} perNode how many of the keys that fell due each node had
 */
/** @typedef {import('../measure.mjs').Tally & ClusterFigures} ClusterRun */

const PRIMARIES = 3;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<ClusterRun[]>}
 */
export async function cluster({ path, quick, filters, log }) {
  const expected = quick ? 1_000 : 10_000;
  const over = quick ? 4_000 : 20_000;
  const others = filters.others?.[0] ?? (quick ? 20_000 : 1_000_000);
  /** @type {ClusterRun[]} */
  const runs = [];
  for (const mode of /** @type {const} */ (['broadcast', 'group'])) {
    // New for each: neither finds the flags or the keys of the other.
    const nodes = await ClusterNodes.start(path, PRIMARIES);
    try {
      await nodes.setKeys(others, otherKey);
      await delay(500);
      const run = await once({
        mode,
        nodes,
        expected,
        over,
        log: (line) => log(`${mode}: ${line}`),
      });
      runs.push({ mode, primaries: PRIMARIES, others, ...run });
    } finally {
      await nodes.stop();
    }
  }
  return runs;
}

/**
 * @param {object} options
 * @param {Mode} options.mode
 * @param {ClusterNodes} options.nodes
 * @param {number} options.expected
 * @param {number} options.over
 * @param {(line: string) => void} options.log
 */
async function once({ mode, nodes, expected, over, log }) {
  const { contender } = await Contender.start('library', {
    port: nodes.port,
    cluster: true,
    expected,
    ...(mode === 'group' && { group: 'bench' }),
  });
  try {
    const deadlines = deadlinesFor('library', expected, over);
    /** @type {number[]} */
    let perNode = [];
    const tally = await measure({
      redis: nodes.connections,
      children: [contender],
      deadlines,
      produce: async () => {
        perNode = await nodes.setKeys(expected, (i) => dueKey(i, deadlines));
        tellIfLate(deadlines, log);
      },
      patience: 60_000,
      log,
    });
    const { handled, duplicates, p50, p99, max, redisCpu, nodeCpu } = tally;
    log(
      `${handled} of ${expected} (${perNode.join(', ')} by node), ${duplicates} twice, p50 ${p50}, p99 ${p99}, max ${max} ms; ` +
        `CPU: Redis ${redisCpu} s, Node ${nodeCpu} s`,
    );
    return { over, perNode, ...tally };
  } finally {
    await contender.stop();
  }
}
