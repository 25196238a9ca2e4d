/**
 * A leader is killed while others lead: how late are expiries before and after, of the partitions that others lead and
 * of its own? A group of three processes on a Cluster of three primaries. Run by hand, after `npm run build`:
 *
 *     node test/bench/leader-killed.mjs                1,500 expiries a second for 20 s, killed in the middle
 *     node test/bench/leader-killed.mjs --rate 300
 */
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { locateRedisServer } from '../support/redis/locate.mjs';
import { ClusterNodes } from './cluster-nodes.mjs';
import { Contender } from './contender.mjs';
import { untilHandled } from './measure.mjs';
import { deadlinesFor, dueKey } from './producers.mjs';
import { latenessOf } from './stats.mjs';

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '1500' },
    seconds: { type: 'string', default: '20' },
  },
});
const seconds = Number(values.seconds);
const expected = Number(values.rate) * seconds;
const PROCESSES = 3;

const { path } = await locateRedisServer();
const nodes = await ClusterNodes.start(path, 3);
const children = await Promise.all(
  Array.from({ length: PROCESSES }, () =>
    Contender.start('library', {
      ...{ port: nodes.port, cluster: true, expected, group: 'bench' },
    }).then(({ contender }) => contender),
  ),
);
try {
  const deadlines = deadlinesFor('library', expected, seconds * 1_000);
  /** Which node has which number. @type {number[]} */
  const nodeOf = [];
  await nodes.setKeys(expected, (i) => dueKey(i, deadlines));
  for (let i = 0; i < expected; i++) nodeOf.push(nodes.nodeOf(`due:${i}`));

  const middle = deadlines[Math.floor(expected / 2)] ?? 0;
  await delay(middle - Date.now());
  const [victim, ...others] = children;
  if (!victim) throw new Error('There is nobody to kill.');
  const status = await victim.status();
  const led = status.groups[0].partitions
    .filter((/** @type {any} */ partition) => partition.leads)
    .map((/** @type {any} */ partition) => partition.node);
  const before = await victim.handled();
  victim.kill();
  const killed = Date.now();
  await untilHandled(
    others,
    expected,
    (deadlines.at(-1) ?? 0) + 40_000,
    console.log,
  );
  const all = [before, ...(await Promise.all(others.map((o) => o.handled())))];
  /** When each was handled first. */
  const at = deadlines.map((_, i) =>
    Math.min(...all.map((handled) => handled.at[i] || Infinity)),
  );
  const lateness = (/** @type {(i: number) => boolean} */ isMeant) => {
    const numbers = deadlines.flatMap((_, i) => (isMeant(i) ? [i] : []));
    const late = numbers.flatMap((i) => {
      const ms = (at[i] ?? Infinity) - (deadlines[i] ?? 0);
      return ms < Infinity ? [ms] : [];
    });
    return { keys: numbers.length, ...latenessOf(late, numbers.length) };
  };
  for (let node = 0; node < nodes.size; node++) {
    const isHere = (/** @type {number} */ i) => nodeOf[i] === node;
    const isLed = led.some((/** @type {string} */ address) =>
      address.endsWith(`:${nodes.connections[node]?.options.port}`),
    );
    console.log(`node ${node}, led by ${isLed ? 'who is killed' : 'another'}`, {
      before: lateness((i) => isHere(i) && (deadlines[i] ?? 0) < killed - 100),
      after: lateness((i) => isHere(i) && (deadlines[i] ?? 0) >= killed),
    });
  }
} finally {
  await Promise.all(children.map((child) => child.stop()));
  await nodes.stop();
}
