/** What the figures of values are held against. */
import { exactlyOnce, handledOf } from './report-groups.mjs';
import { duration } from './report-texts.mjs';
import { round } from './stats.mjs';

/**
 * @param {readonly import('./parts/values.mjs').ValueRun[]} runs
 * @returns {import('./report.mjs').Target[]}
 */
export const valueTargets = (runs) =>
  runs
    .filter(({ values }) => values)
    .flatMap((run) => {
      const { mode, expected, valued, p99, redisPerKey, perSecond } = run;
      const without = runs.find((one) => one.mode === mode && !one.values);
      const more = redisPerKey - (without?.redisPerKey ?? Number.NaN);
      const what = `${perSecond} dying keys a second with values, ${mode}`;
      return [
        {
          what: `${what}: handled`,
          result: `${handledOf(run)}, ${round((100 * valued) / expected)} % with the value`,
          target: 'each once',
          met: exactlyOnce(run),
        },
        {
          what: `${what}: p99`,
          result: duration(p99),
          target: '≤ 15 ms',
          met: p99 !== null && p99 <= 15,
        },
        {
          what: `${what}: Redis more for each key`,
          result: `${round(more, 2)} µs`,
          target: '≤ 1 µs',
          met: more <= 1,
        },
      ];
    });
