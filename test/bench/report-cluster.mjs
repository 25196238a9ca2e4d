/** The figures of a Cluster, and what they should be. */
import { exactlyOnce, handledOf } from './report-groups.mjs';
import { count, duration } from './report-texts.mjs';
import { valueTargets } from './report-values.mjs';
import { round } from './stats.mjs';

const watchers = {
  broadcast: 'one process, broadcast',
  group: 'one process of a group',
};

/**
 * @param {import('./results.mjs').Results} results
 * @returns {import('./report.mjs').Target[]}
 */
export const clusterTargets = (results) => [
  ...(results.cluster?.result ?? []).flatMap((run) => {
    const { mode, primaries, others, over, expected, p50, p99, max } = run;
    const what = `${count(expected)} deadlines in ${over / 1_000} s on ${primaries} primaries, ${watchers[mode]}, ${count(others)} other keys`;
    return [
      {
        what: `${what}: handled`,
        result: handledOf(run),
        target: 'each once',
        met: exactlyOnce(run),
      },
      {
        what: `${what}: p99`,
        result: `${duration(p99)} (p50 ${duration(p50)}, latest ${duration(max)})`,
        target: '≤ 25 ms',
        met: p99 !== null && p99 <= 25,
      },
    ];
  }),
  ...scaleTargets(results.scale?.result ?? []),
  ...valueTargets(results.values?.result ?? []),
];

/**
 * @param {readonly import('./parts/scale.mjs').ScaleRun[]} runs
 * @returns {import('./report.mjs').Target[]}
 */
function scaleTargets(runs) {
  const one = runs.find(({ primaries }) => primaries === 1);
  return runs.flatMap((run) => {
    const { primaries, processes, expected, over, rate, redisCpu, nodeCpu } =
      run;
    const what = `${count(expected)} due in the same ${over} ms on ${primaries} primaries, ${processes} processes of a group`;
    const isMore = one !== undefined && primaries > 1;
    const ratio = rate / (one?.rate ?? Number.NaN);
    return [
      {
        what: `${what}: handled`,
        result: handledOf(run),
        target: 'each once',
        met: exactlyOnce(run),
      },
      {
        what: `${what}: handled a second`,
        result:
          `${count(Math.round(rate))}` +
          (isMore ? `, ${round(ratio, 2)} times as many as on one` : '') +
          `; CPU of all servers ${round(redisCpu)} s, of all processes ${round(nodeCpu)} s`,
        target: isMore ? '≥ 1.8 times as many' : '',
        met: !isMore || ratio >= 1.8,
      },
    ];
  });
}
