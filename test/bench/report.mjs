/** The figures as tables, and against what they should be. */
import { clusterTargets } from './report-cluster.mjs';
import { groupTargets } from './report-groups.mjs';
import {
  count,
  duration,
  environments,
  megabytes,
  renewals,
  table,
  targetSection,
} from './report-texts.mjs';
import { median, round } from './stats.mjs';

/** @typedef {import('./results.mjs').Results} Results */
/** @typedef {import('./results.mjs').LatenessRun} LatenessRun */

/** @type {Record<LatenessRun['contender'], string>} */
export const labels = {
  'by-hand': 'by hand',
  bullmq: 'BullMQ',
  library: 'nestjs-redis-expiry',
};

/** @param {readonly LatenessRun[]} runs of one load */
function latenessTable(runs) {
  return table(
    [
      'Other keys',
      '',
      'Handled',
      'p50',
      'p99',
      'Latest',
      'CPU: Redis',
      'CPU: Node',
      'Node RSS (heap)',
      'Redis memory',
    ],
    runs.map((run) => [
      count(run.others),
      run.contender === 'library'
        ? `**${labels.library}**`
        : labels[run.contender],
      `${count(run.handled)} of ${count(run.expected)}${run.duplicates ? `, ${count(run.duplicates)} twice` : ''}`,
      duration(run.p50),
      duration(run.p99),
      duration(run.max),
      `${run.redisCpu} s`,
      `${run.nodeCpu} s`,
      `${megabytes(run.rss)} (${megabytes(run.heap)})`,
      megabytes(run.redisMemory),
    ]),
  );
}

/**
 * @param {readonly LatenessRun[]} runs
 * @param {string} load
 */
function latenessSection(runs, load) {
  const some = runs.filter((run) => run.load === load);
  const [first] = some;
  if (!first) return [];
  const title = `${count(first.expected)} deadlines in ${first.over / 1_000} s`;
  return [`### ${title}`, latenessTable(some)];
}

/** @typedef {{ what: string, result: string, target: string, met: boolean }} Target */

/**
 * @param {Results} results
 * @returns {Target[]}
 */
export const targets = (results) => [
  ...ownTargets(results),
  ...groupTargets(results),
  ...clusterTargets(results),
];

/**
 * @param {Results} results
 * @returns {Target[]}
 */
function ownTargets(results) {
  /** @type {Target[]} */
  const list = [];
  /** @param {string} what @param {string} result @param {string} target @param {boolean} met */
  const add = (what, result, target, met) =>
    list.push({ what, result, target, met });
  const runs = results.lateness?.result ?? [];
  for (const run of runs.filter(({ contender }) => contender === 'library')) {
    const where = `${count(run.others)} others, ${run.load}`;
    const { handled, expected, p50, p99 } = run;
    const within = (
      /** @type {number | null} */ ms,
      /** @type {number} */ most,
    ) => ms !== null && ms <= most;
    add(
      `${where}: handled`,
      `${count(handled)}, ${run.duplicates} twice`,
      `${count(expected)}, none twice`,
      handled === expected && run.duplicates === 0,
    );
    if (run.load === 'spread') {
      add(`${where}: p50`, duration(p50), '≤ 3 ms', within(p50, 3));
      add(`${where}: p99`, duration(p99), '≤ 10 ms', within(p99, 10));
      const bullmq = runs.find(
        ({ contender, others, load }) =>
          contender === 'bullmq' && others === run.others && load === run.load,
      );
      if (bullmq?.p99 && p99) {
        const ratio = bullmq.p99 / p99;
        add(
          `${where}: BullMQ's p99 to the library's`,
          `${round(ratio, 1)} times`,
          '≥ 10 times',
          ratio >= 10,
        );
      }
    } else add(`${where}: p99`, duration(p99), '≤ 50 ms', within(p99, 50));
  }
  for (const beat of results.heartbeat?.result ?? []) {
    const { pace, ratio, alone, tracked, ttl } = beat;
    add(
      `Redis CPU per \`SET k v EX ${ttl}\`, ${renewals(beat)}: tracked to not`,
      `${round(ratio, 2)} (${round(median(tracked), 2)} to ${round(median(alone), 2)} µs)`,
      pace === 'paced' ? '' : '≤ 1.25',
      pace === 'paced' || ratio <= 1.25,
    );
  }
  if (results.enrol) {
    const { keys, scanMedian, pingDuring, pingWithout, ...enrol } =
      results.enrol.result;
    add(
      `Learning ${count(keys)} deadlines at start`,
      `${round(scanMedian / 1_000, 1)} s, ${enrol.redisCpu} s of Redis CPU`,
      '≤ 5 s',
      scanMedian <= 5_000,
    );
    add(
      "p99 of another client's PING meanwhile",
      `${pingDuring.p99} ms (without: ${pingWithout.p99} ms)`,
      '≤ 5 ms',
      pingDuring.p99 <= 5,
    );
    add(
      'Node memory per tracked key',
      `${enrol.bytesPerKey} bytes (RSS ${round(enrol.rss)} MB for ${count(keys)})`,
      '',
      true,
    );
  }
  if (results.idle) {
    const { keys, nodeCpuShare, commandsPerSecond } = results.idle.result;
    add(
      `Node CPU with ${count(keys)} deadlines an hour away`,
      `${round(nodeCpuShare * 100, 2)} % of a core`,
      '< 1 %',
      nodeCpuShare < 0.01,
    );
    add(
      'Commands at Redis meanwhile',
      `${round(commandsPerSecond, 1)} a second`,
      '< 5 a second',
      commandsPerSecond < 5,
    );
  }
  return list;
}

/** @param {Results} results */
export function markdown(results) {
  const runs = results.lateness?.result ?? [];
  const others = ownTargets(results).filter(
    ({ what }) => !/others, /.test(what),
  );
  return [
    ...latenessSection(runs, 'spread'),
    ...latenessSection(runs, 'rush'),
    ...(runs.length > 0
      ? [
          '"Other keys" have hours to live and belong to nobody here. Percentiles are of all that was due: "never" is not within a minute of the last deadline. CPU time is that of the whole run, the writing of the keys or jobs included at Redis.',
        ]
      : []),
    ...targetSection('What it costs', others),
    ...targetSection('Groups', groupTargets(results)),
    ...targetSection('Clusters', clusterTargets(results)),
    environments(results).join('\n'),
  ].join('\n\n');
}
