/** The figures of all parts in one file: a part that is run anew replaces its own figures only. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { format } from 'prettier';

/**
 * @typedef {object} LatenessRun
 * @property {string} date
 * @property {number} others keys with a time to live that lie around
 * @property {string} load
 * @property {'by-hand' | 'library' | 'bullmq'} contender
 * @property {number} expected
 * @property {number} over ms from the first deadline to the last
 * @property {number} handled within a minute of the last deadline
 * @property {number} duplicates
 * @property {number | null} p50 ms; null: never
 * @property {number | null} p99
 * @property {number | null} max
 * @property {number} startCpu seconds of Redis's CPU time until the contender was ready
 * @property {number} redisCpu seconds of Redis's CPU time from then on, writing the keys included
 * @property {number} nodeCpu seconds of the contender's CPU time from then on
 * @property {number} rss MB, the most
 * @property {number} heap MB
 * @property {number} redisMemory MB that the waiting keys or jobs take
 * @property {[ms: number, share: number][]} curve share of the expected that was handled within so many ms
 */

/**
 * @typedef {object} Heartbeat
 * @property {'flood' | 'paced' | 'apart'} pace how they come: as fast as it goes, a thousand in one go, or each by itself
 * @property {number} keys
 * @property {number} sets a round
 * @property {number} [perSecond]
 * @property {number} ttl seconds
 * @property {number[]} alone µs of Redis's CPU time a SET, each round, with notifications off
 * @property {number[]} tracked the same while the library tracks the keys
 * @property {number} ratio of the medians
 * @property {number[]} [group] the same while a group of the library's watches the keys
 * @property {number} [groupRatio]
 * @property {number} [groupGaps] times that Redis cut the group's listener off: then the figure means little
 * @property {number[]} [bullmq] the same for the renewal of a delayed job, with a worker that waits
 * @property {number} [bullmqRatio]
 */

/** @typedef {{ count: number, p50: number, p99: number, max: number }} Percentiles */

/**
 * @typedef {object} Enrolment
 * @property {number} keys
 * @property {number[]} scan ms, each round
 * @property {number} scanMedian
 * @property {number} ready ms from the start of the application until all deadlines are known
 * @property {number} redisCpu seconds
 * @property {Percentiles} pingWithout ms
 * @property {Percentiles} pingDuring ms, while the scan runs
 * @property {number} rss MB with all keys tracked
 * @property {number} rssEmpty MB without any
 * @property {number} bytesPerKey heap and typed arrays
 */

/**
 * @typedef {object} Idle
 * @property {number} keys
 * @property {number} seconds
 * @property {number} nodeCpuShare of a core
 * @property {number} commandsPerSecond at Redis
 */

/**
 * @template T
 * @typedef {{ date: string, seconds: number, environment: Environment, result: T }} Part
 */

/**
 * @typedef {object} Results
 * @property {Part<LatenessRun[]>} [lateness]
 * @property {Part<Heartbeat[]>} [heartbeat]
 * @property {Part<Enrolment>} [enrol]
 * @property {Part<Idle>} [idle]
 * @property {Part<import('./parts/drain.mjs').DrainRun[]>} [drain]
 * @property {Part<import('./parts/steady.mjs').SteadyRun[]>} [steady]
 * @property {Part<import('./parts/shared.mjs').SharedRun>} [shared]
 * @property {Part<import('./parts/memory.mjs').Memory>} [memory]
 * @property {Part<import('./parts/arm.mjs').Arming>} [arm]
 * @property {Part<import('./parts/cluster.mjs').ClusterRun[]>} [cluster]
 * @property {Part<import('./parts/scale.mjs').ScaleRun[]>} [scale]
 * @property {Part<import('./parts/values.mjs').ValueRun[]>} [values]
 */

/** @typedef {Awaited<ReturnType<typeof environment>>} Environment */

const root = new URL('../../', import.meta.url);

/** @param {string} redis the server's version */
export async function environment(redis) {
  const version = async (/** @type {string} */ path) =>
    /** @type {string} */ (
      JSON.parse(await readFile(new URL(`${path}package.json`, root), 'utf8'))
        .version
    );
  return {
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    system: `${type()} ${release()}`,
    node: process.versions.node,
    redis,
    library: await version(''),
    nest: await version('node_modules/@nestjs/core/'),
    ioredis: await version('node_modules/ioredis/'),
    bullmq: await version('node_modules/bullmq/'),
  };
}

/**
 * @param {URL} directory
 * @returns {Promise<Results>}
 */
export async function readResults(directory) {
  try {
    return JSON.parse(
      await readFile(new URL('latest.json', directory), 'utf8'),
    );
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT')
      return {};
    throw error;
  }
}

/** Of the parts that can be run in part: what is one run. */
const runOf = {
  lateness: (/** @type {LatenessRun} */ run) =>
    `${run.others} ${run.load} ${run.contender}`,
  drain: (/** @type {import('./parts/drain.mjs').DrainRun} */ run) =>
    run.contender,
};

const loads = ['spread', 'rush'];
const contenders = ['by-hand', 'bullmq', 'library'];

/** @typedef {{ load?: string, others?: number, contender: string }} Run */

/**
 * Puts newer figures in the place of older ones: all, or run by run.
 *
 * @template T
 * @param {string} part
 * @param {T | undefined} older
 * @param {T} newer
 * @returns {T}
 */
export function merged(part, older, newer) {
  const keyOf = /** @type {Record<string, (run: any) => string>} */ (runOf)[
    part
  ];
  if (!keyOf || !Array.isArray(older) || !Array.isArray(newer)) return newer;
  /** @type {Map<string, Run>} */
  const runs = new Map([...older, ...newer].map((run) => [keyOf(run), run]));
  const inOrder = [...runs.values()].toSorted(
    (a, b) =>
      loads.indexOf(a.load ?? '') - loads.indexOf(b.load ?? '') ||
      (a.others ?? 0) - (b.others ?? 0) ||
      contenders.indexOf(a.contender) - contenders.indexOf(b.contender),
  );
  return /** @type {T} */ (/** @type {unknown} */ (inOrder));
}

/**
 * @param {URL} directory
 * @param {Record<string, string>} files
 */
export async function writeFiles(directory, files) {
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const parser = { json: 'json', md: 'markdown' }[name.split('.')[1] ?? ''];
    const formatted = parser ? await format(text, { parser }) : text;
    await writeFile(new URL(name, directory), formatted);
  }
}
