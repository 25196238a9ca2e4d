/** What makes keys or jobs that fall due, and the keys that lie around. */
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { setKeys } from './bulk.mjs';

/** @typedef {(port: number, deadlines: readonly number[]) => Promise<void>} Producer */

const HOUR = 3_600_000;

/** @typedef {[key: string, ...rest: string[]]} SetWords what follows SET */

/** @param {number} i @param {readonly number[]} deadlines @returns {SetWords} */
export const dueKey = (i, deadlines) => [
  `due:${i}`,
  '1',
  'PXAT',
  `${deadlines[i]}`,
];

/** A key that has 2 to 10 hours to live. @param {number} i @returns {SetWords} */
export const otherKey = (i) => [
  `other:${i}`,
  '1',
  'PX',
  `${2 * HOUR + Math.floor(Math.random() * 8 * HOUR)}`,
];

/** @type {Producer} */
const setDueKeys = (port, deadlines) =>
  setKeys(port, deadlines.length, (i) => dueKey(i, deadlines));

/** @type {Producer} */
async function addDelayedJobs(port, deadlines) {
  const queue = new Queue('due', { connection: { host: '127.0.0.1', port } });
  for (let from = 0; from < deadlines.length; from += 1_000) {
    const timestamp = Date.now();
    await queue.addBulk(
      deadlines.slice(from, from + 1_000).map((deadline, i) => ({
        name: 'due',
        data: { n: from + i },
        // What BullMQ keeps is the sum of the two.
        opts: {
          timestamp,
          delay: deadline - timestamp,
          removeOnComplete: true,
        },
      })),
    );
  }
  await queue.close();
}

/** `perSecond`: what it is sure to take in, which decides how long before the first deadline it begins. */
const producers = /** @type {const} */ ({
  'by-hand': { produce: setDueKeys, perSecond: 30_000 },
  library: { produce: setDueKeys, perSecond: 30_000 },
  bullmq: { produce: addDelayedJobs, perSecond: 4_000 },
});

/** @typedef {keyof typeof producers} ContenderName */

export const contenders = /** @type {ContenderName[]} */ (
  Object.keys(producers)
);

/**
 * Moments from soon on, when all of them will have been produced, evenly over a time.
 *
 * @param {ContenderName} contender
 * @param {number} count
 * @param {number} over ms
 */
export function deadlinesFor(contender, count, over) {
  const lead = 2_000 + (count / producers[contender].perSecond) * 1_000;
  const first = Date.now() + Math.ceil(lead);
  return Array.from(
    { length: count },
    (_, i) => first + Math.floor((i * over) / count),
  );
}

/**
 * @param {ContenderName} contender
 * @param {number} port
 * @param {readonly number[]} deadlines ascending
 * @param {(line: string) => void} log
 */
export async function produce(contender, port, deadlines, log) {
  await producers[contender].produce(port, deadlines);
  tellIfLate(deadlines, log);
}

/**
 * @param {readonly number[]} deadlines ascending
 * @param {(line: string) => void} log
 */
export function tellIfLate(deadlines, log) {
  if (Date.now() >= (deadlines[0] ?? Infinity))
    log('the machine is slow: keys were due before all of them were set');
}

/**
 * Makes keys that have 2 to 10 hours to live and belong to nobody.
 *
 * @param {number} port
 * @param {number} from
 * @param {number} to
 */
export async function addOthers(port, from, to) {
  await setKeys(port, to - from, (i) => otherKey(from + i));
  await delay(500);
}
