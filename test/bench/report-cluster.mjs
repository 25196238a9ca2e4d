/** The figures of a Cluster, and what they should be. */
import { exactlyOnce, handledOf } from './report-groups.mjs';
import { count, duration } from './report-texts.mjs';

const watchers = {
  broadcast: 'one process, broadcast',
  group: 'one process of a group',
};

/**
 * @param {import('./results.mjs').Results} results
 * @returns {import('./report.mjs').Target[]}
 */
export const clusterTargets = (results) =>
  (results.cluster?.result ?? []).flatMap((run) => {
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
  });
