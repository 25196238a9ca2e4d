/** The figures of groups, and what they should be. */
import { count, duration, renewals } from './report-texts.mjs';
import { median, round } from './stats.mjs';

/** @typedef {import('./report.mjs').Target} Target */
/** @typedef {import('./measure.mjs').Tally} Tally */

/** @typedef {(what: string, result: string, target: string, met: boolean) => void} Add */

/**
 * @param {import('./results.mjs').Results} results
 * @returns {Target[]}
 */
export function groupTargets(results) {
  /** @type {Target[]} */
  const list = [];
  /** @type {Add} */
  const add = (what, result, target, met) =>
    list.push({ what, result, target, met });
  if (results.drain) drained(results.drain.result, add);
  for (const run of results.steady?.result ?? []) keptUp(run, add);
  if (results.shared) split(results.shared.result, add);
  if (results.memory) kept(results.memory.result, add);
  if (results.arm) armed(results.arm.result, add);
  for (const beat of results.heartbeat?.result ?? []) renewed(beat, add);
  return list;
}

/** @param {Pick<Tally, 'handled' | 'expected' | 'duplicates'>} tally */
export const handledOf = ({ handled, expected, duplicates }) =>
  `${count(handled)} of ${count(expected)}, ${duplicates === 0 ? 'none' : count(duplicates)} twice`;

/** @param {Pick<Tally, 'handled' | 'expected' | 'duplicates'>} tally */
export const exactlyOnce = ({ handled, expected, duplicates }) =>
  handled === expected && duplicates === 0;

/** @param {import('./parts/drain.mjs').DrainRun} run */
const cpuOf = ({ redisCpu, nodeCpu, expected }) =>
  [redisCpu, nodeCpu]
    .map((seconds) => `${round((seconds / expected) * 1e6)} µs`)
    .join(' and ');

/**
 * @param {readonly import('./parts/drain.mjs').DrainRun[]} runs
 * @param {Add} add
 */
function drained(runs, add) {
  const library = runs.find(({ contender }) => contender === 'library');
  const bullmq = runs.find(({ contender }) => contender === 'bullmq');
  const what = (/** @type {number} */ keys) =>
    `${count(keys)} due in the same ${runs[0]?.over} ms, one process`;
  if (library) {
    add(
      `${what(library.expected)}: handled`,
      handledOf(library),
      'each once',
      exactlyOnce(library),
    );
    const ratio = library.rate / (bullmq?.rate ?? Number.NaN);
    add(
      `${what(library.expected)}: handled a second`,
      `${count(library.rate)}${bullmq ? `, ${ratio.toFixed(1)} times BullMQ's ${count(bullmq.rate)}` : ''}`,
      "≥ 2 times BullMQ's",
      ratio >= 2,
    );
    add(
      `${what(library.expected)}: CPU of Redis and Node for each`,
      `${cpuOf(library)}${bullmq ? ` (BullMQ: ${cpuOf(bullmq)})` : ''}`,
      '',
      true,
    );
  }
  if (bullmq)
    add(
      `The same by BullMQ: handled`,
      handledOf(bullmq),
      '',
      exactlyOnce(bullmq),
    );
}

/**
 * @param {import('./parts/steady.mjs').SteadyRun} run
 * @param {Add} add
 */
function keptUp({ written, perSecond, seconds, p50, p99, max, ...run }, add) {
  const how = {
    before: 'all keys there before',
    meanwhile: 'as many keys written a second',
  };
  const what = `${count(perSecond)} expiries a second for ${seconds} s, one process, ${how[written]}`;
  add(`${what}: handled`, handledOf(run), 'each once', exactlyOnce(run));
  add(
    `${what}: p99`,
    `${duration(p99)} (p50 ${duration(p50)}, latest ${duration(max)})`,
    '≤ 100 ms',
    p99 !== null && p99 <= 100,
  );
}

/**
 * @param {import('./parts/shared.mjs').SharedRun} run
 * @param {Add} add
 */
function split(
  { over, others, shares, leastShare, p50, p99, max, ...run },
  add,
) {
  const what = `${count(run.expected)} deadlines in ${over / 1_000} s, ${shares.length} processes, ${count(others)} other keys`;
  add(`${what}: handled`, handledOf(run), 'each once', exactlyOnce(run));
  add(
    `${what}: the smallest share`,
    `${round(leastShare * 100)} %`,
    '≥ 20 %',
    leastShare >= 0.2,
  );
  add(
    `${what}: p99`,
    `${duration(p99)} (p50 ${duration(p50)}, latest ${duration(max)})`,
    '≤ 25 ms',
    p99 !== null && p99 <= 25,
  );
}

/**
 * @param {import('./parts/memory.mjs').Memory} memory
 * @param {Add} add
 */
function kept({ keys, nameLength, perKey, perEnrolled, perJob }, add) {
  add(
    `Redis memory per key of a group, over the key's own ${round(perKey)} bytes (${count(keys)} names of ${round(nameLength)} bytes)`,
    `${round(perEnrolled)} bytes (a delayed job of BullMQ's: ${count(round(perJob))} bytes)`,
    '≤ 110 bytes',
    perEnrolled <= 110,
  );
}

/**
 * @param {import('./parts/arm.mjs').Arming} arming
 * @param {Add} add
 */
function armed({ keys, cpu, bytes }, add) {
  const what = `${count(keys)} keys, one by one`;
  const most = median(cpu.bullmq);
  add(
    `Redis CPU for each \`arm\`, ${what}`,
    `${round(median(cpu.arm), 1)} µs (a plain SET: ${round(median(cpu.set), 1)} µs)`,
    `< BullMQ's \`add\`, ${round(most, 1)} µs`,
    median(cpu.arm) < most,
  );
  add(
    `Redis memory for each key that is armed, ${what}`,
    `${round(median(bytes.arm))} bytes (a plain SET: ${round(median(bytes.set))} bytes)`,
    `< BullMQ's \`add\`, ${round(median(bytes.bullmq))} bytes`,
    median(bytes.arm) < median(bytes.bullmq),
  );
}

/**
 * @param {import('./results.mjs').Heartbeat} beat
 * @param {Add} add
 */
function renewed(beat, add) {
  const { ttl, alone, group, groupRatio } = beat;
  if (!group || groupRatio === undefined) return;
  const gaps = beat.groupGaps ?? 0;
  const job = beat.bullmq
    ? `; renewing a delayed job of BullMQ's: ${round(median(beat.bullmq), 2)} µs`
    : '';
  add(
    `Redis CPU per \`SET k v EX ${ttl}\`, ${renewals(beat)}: watched by a group to not`,
    `${round(groupRatio, 2)} (${round(median(group), 2)} to ${round(median(alone), 2)} µs${job})${gaps ? `, cut off ${gaps} times` : ''}`,
    '≤ 1.5',
    groupRatio <= 1.5 && gaps === 0,
  );
}
