/**
 * Runs the benchmarks on real servers, and writes figures, tables and a chart to
 * `test/bench/results/`. Expects the library in `dist/`: `npm run bench` builds it.
 *
 *     npm run bench                                   everything, about half an hour
 *     npm run bench -- idle enrol                     these parts; the figures of the others stay
 *     npm run bench -- lateness --others 0,100000 --load spread --contender library,bullmq
 *     npm run bench -- drain steady shared memory     what is about groups alone
 *     npm run bench -- arm                            writing a key that cannot be lost, and a delayed job
 *     npm run bench -- cluster                        lateness on a Cluster, broadcast and in a group
 *     npm run bench -- scale                          a group on one primary and on three
 *     npm run bench -- values                         what values cost, in broadcast and in a group
 *     npm run bench -- --quick                        few keys, to .cache/bench/: does it work?
 *     npm run bench -- report                         tables and chart anew from the figures
 */
import { parseArgs } from 'node:util';
import { locateRedisServer } from '../support/redis/locate.mjs';
import { chart } from './chart.mjs';
import { arm } from './parts/arm.mjs';
import { cluster } from './parts/cluster.mjs';
import { drain } from './parts/drain.mjs';
import { enrol } from './parts/enrol.mjs';
import { heartbeat } from './parts/heartbeat.mjs';
import { idle } from './parts/idle.mjs';
import { lateness } from './parts/lateness.mjs';
import { memory } from './parts/memory.mjs';
import { scale } from './parts/scale.mjs';
import { shared } from './parts/shared.mjs';
import { steady } from './parts/steady.mjs';
import { values as valueLooks } from './parts/values.mjs';
import { markdown, targets } from './report.mjs';
import { environment, merged, readResults, writeFiles } from './results.mjs';
import { round } from './stats.mjs';

/**
 * @typedef {object} BenchOptions
 * @property {string} path of the server program
 * @property {boolean} quick
 * @property {{ others: number[] | undefined, load: (name: string) => boolean, contender: (name: string) => boolean }} filters
 * @property {(line: string) => void} log
 */

const parts = {
  lateness,
  heartbeat,
  enrol,
  idle,
  drain,
  steady,
  shared,
  memory,
  arm,
  cluster,
  scale,
  values: valueLooks,
};

/** @param {string} name @returns {name is keyof typeof parts} */
const isPart = (name) => Object.hasOwn(parts, name);

/** @param {string | undefined} list */
const chosen = (list) => {
  const names = list?.split(',');
  return (/** @type {string} */ name) => names?.includes(name) ?? true;
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    others: { type: 'string' },
    load: { type: 'string' },
    contender: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const wanted = positionals.length > 0 ? positionals : Object.keys(parts);
const unknown = wanted.filter((name) => !isPart(name) && name !== 'report');
if (unknown.length > 0)
  throw new Error(
    `Unknown: ${unknown.join(', ')}. There are ${Object.keys(parts).join(', ')} and report`,
  );

const directory = new URL(
  values.quick ? '../../.cache/bench/' : 'results/',
  import.meta.url,
);
const { path, version } = await locateRedisServer();
const results = await readResults(directory);

async function write() {
  const svg = results.lateness && chart(results.lateness);
  await writeFiles(directory, {
    'latest.json': JSON.stringify(results),
    'latest.md': markdown(results),
    ...(svg && { 'lateness.svg': svg }),
  });
}

for (const name of wanted.filter(isPart)) {
  const began = performance.now();
  /** @param {string} line */
  const log = (line) => console.log(`[${name}] ${line}`);
  const result = await parts[name]({
    path,
    quick: values.quick,
    filters: {
      others: values.others?.split(',').map(Number),
      load: chosen(values.load),
      contender: chosen(values.contender),
    },
    log,
  });
  const seconds = round((performance.now() - began) / 1_000);
  log(`took ${seconds} s`);
  Object.assign(results, {
    [name]: {
      date: new Date().toISOString(),
      seconds,
      environment: await environment(version),
      result: merged(name, results[name]?.result, result),
    },
  });
  // After each part: whoever stops the next one keeps this.
  await write();
}
if (wanted.includes('report')) await write();

for (const { what, result, target, met } of targets(results))
  if (target)
    console.log(
      `${met ? 'met   ' : 'MISSED'} ${what}: ${result} (target ${target})`,
    );
