/** Lets processes handle what falls due, and counts what they did. */
import { setTimeout as delay } from 'node:timers/promises';
import { serverCpu } from './redis-info.mjs';
import { latenessOf, round } from './stats.mjs';

/** @typedef {import('./contender.mjs').Contender} Contender */

/**
 * What became of all that was due.
 *
 * @typedef {object} Tally
 * @property {number} expected
 * @property {number} handled
 * @property {number} duplicates
 * @property {number[]} shares how many each process handled
 * @property {number | null} p50 ms from the deadline to the start of the handler; null: never
 * @property {number | null} p99
 * @property {number | null} max
 * @property {number} took ms from the first deadline to the start of the last handler
 * @property {number} redisCpu seconds of all servers, writing the keys or jobs included
 * @property {number} nodeCpu seconds of all processes that handled
 */

/**
 * Waits until everything was handled, and a little longer for duplicates, or time is up.
 *
 * @param {readonly Contender[]} children
 * @param {number} expected
 * @param {number} end
 * @param {(line: string) => void} log
 */
export async function untilHandled(children, expected, end, log) {
  let told = Date.now();
  for (;;) {
    const samples = await Promise.all(children.map((child) => child.sample()));
    const handled = samples.reduce((sum, sample) => sum + sample.handled, 0);
    if (handled >= expected) {
      await delay(1_000);
      return;
    }
    if (Date.now() >= end) return;
    if (Date.now() - told >= 10_000) {
      told = Date.now();
      log(
        `${handled} of ${expected} so far, ${Math.ceil((end - told) / 1_000)} s to go at most`,
      );
    }
    await delay(500);
  }
}

/**
 * Produces, waits until it was handled, or for a minute after the last deadline, and counts.
 *
 * @param {object} options
 * @param {import('ioredis').Redis | readonly import('ioredis').Redis[]} options.redis
 * @param {readonly Contender[]} options.children
 * @param {readonly number[]} options.deadlines ascending
 * @param {() => Promise<void>} options.produce
 * @param {number} options.patience ms after the last deadline for which it is waited
 * @param {(line: string) => void} options.log
 * @returns {Promise<Tally>}
 */
export async function measure({
  redis,
  children,
  deadlines,
  produce,
  patience,
  log,
}) {
  const cpu = async () => {
    const samples = await Promise.all(children.map((child) => child.sample()));
    const node = samples.reduce((sum, sample) => sum + sample.cpu, 0);
    const servers = await Promise.all([redis].flat().map(serverCpu));
    return { node, redis: servers.reduce((sum, one) => sum + one, 0) };
  };
  const before = await cpu();
  await produce();
  const last = deadlines.at(-1) ?? 0;
  await untilHandled(children, deadlines.length, last + patience, log);
  const after = await cpu();
  const ledgers = await Promise.all(children.map((child) => child.handled()));
  return {
    ...tally(ledgers, deadlines),
    redisCpu: round(after.redis - before.redis, 2),
    nodeCpu: round(after.node - before.node, 2),
  };
}

/**
 * @param {readonly import('./contender.mjs').Handled[]} ledgers
 * @param {readonly number[]} deadlines
 */
function tally(ledgers, deadlines) {
  const late = [];
  let times = 0;
  let lastAt = 0;
  for (const [i, deadline] of deadlines.entries()) {
    let first = Infinity;
    for (const ledger of ledgers) {
      if (!ledger.times[i]) continue;
      times += ledger.times[i] ?? 0;
      first = Math.min(first, ledger.at[i] ?? Infinity);
    }
    if (first === Infinity) continue;
    late.push(first - deadline);
    lastAt = Math.max(lastAt, first);
  }
  return {
    expected: deadlines.length,
    handled: late.length,
    duplicates: times - late.length,
    shares: ledgers.map((ledger) => ledger.times.filter((n) => n > 0).length),
    ...latenessOf(late, deadlines.length),
    took: lastAt - (deadlines[0] ?? 0),
  };
}
