/**
 * How late is a key handled? The same deadlines for each contender, one after the other, on one
 * server in which more and more other keys with a time to live lie around.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { Contender } from '../contender.mjs';
import { untilHandled } from '../measure.mjs';
import { addOthers, contenders, deadlinesFor, produce } from '../producers.mjs';
import { removeKeys, serverCpu, usedMemory } from '../redis-info.mjs';
import { curveOf, latenessOf, round } from '../stats.mjs';

/** @typedef {import('../results.mjs').LatenessRun} LatenessRun */
/** @typedef {import('../producers.mjs').ContenderName} ContenderName */
/** @typedef {{ name: string, count: number, over: number }} Load */

const MB = 2 ** 20;

/** @param {boolean} quick */
const settings = (quick) =>
  quick
    ? {
        others: [0, 10_000],
        /** @type {Load[]} */
        loads: [
          { name: 'spread', count: 200, over: 2_000 },
          { name: 'rush', count: 3_000, over: 3_000 },
        ],
        patience: 5_000,
      }
    : {
        others: [0, 100_000, 1_000_000],
        /** @type {Load[]} */
        loads: [
          { name: 'spread', count: 1_000, over: 8_000 },
          { name: 'rush', count: 100_000, over: 10_000 },
        ],
        /** Ms after the last deadline for which it is waited. */
        patience: 60_000,
      };

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<LatenessRun[]>}
 */
export async function lateness({ path, quick, filters, log }) {
  const { loads, patience, ...defaults } = settings(quick);
  const others = (filters.others ?? defaults.others).toSorted((a, b) => a - b);
  const server = await RedisServer.start({ path });
  const redis = new Redis(server.port, '127.0.0.1');
  /** @type {LatenessRun[]} */
  const runs = [];
  try {
    let there = 0;
    for (const count of others) {
      await addOthers(server.port, there, count);
      there = count;
      for (const load of loads.filter(({ name }) => filters.load(name)))
        for (const contender of contenders.filter(filters.contender)) {
          const what = `${count.toLocaleString('en')} others, ${load.name}, ${contender}`;
          const run = await measure({
            server,
            redis,
            contender,
            load,
            patience,
            log: (line) => log(`${what}: ${line}`),
          });
          runs.push({ others: count, ...run });
          await clear(redis);
        }
    }
  } finally {
    redis.disconnect();
    await server.stop();
  }
  return runs;
}

/** @param {Redis} redis */
async function clear(redis) {
  await redis.config('SET', 'notify-keyspace-events', '');
  await removeKeys(redis, ['due:*', 'bull:*']);
  await delay(500);
}

/**
 * @param {object} options
 * @param {RedisServer} options.server
 * @param {Redis} options.redis
 * @param {ContenderName} options.contender
 * @param {Load} options.load
 * @param {number} options.patience
 * @param {(line: string) => void} options.log
 * @returns {Promise<Omit<LatenessRun, 'others'>>}
 */
async function measure({ server, redis, contender, load, patience, log }) {
  const { port } = server;
  const expected = load.count;
  const cpuAtStart = await serverCpu(redis);
  const { contender: child } = await Contender.start(contender, {
    port,
    expected,
  });
  try {
    await delay(500);
    const before = await snapshot(redis, child);
    const deadlines = deadlinesFor(contender, expected, load.over);
    await produce(contender, port, deadlines, log);
    const pending = await usedMemory(redis);

    const last = Math.max(...deadlines.slice(-1));
    await untilHandled([child], expected, last + patience, log);
    const after = await snapshot(redis, child);
    const { at, times } = await child.handled();
    const late = deadlines.flatMap((deadline, i) =>
      times[i] ? [(at[i] ?? 0) - deadline] : [],
    );
    const run = {
      date: new Date().toISOString(),
      load: load.name,
      contender,
      expected,
      over: load.over,
      handled: late.length,
      duplicates: times.reduce((sum, n) => sum + Math.max(0, n - 1), 0),
      ...latenessOf(late, expected),
      startCpu: round(before.redisCpu - cpuAtStart, 2),
      redisCpu: round(after.redisCpu - before.redisCpu, 2),
      nodeCpu: round(after.cpu - before.cpu, 2),
      rss: round(after.maxRss / MB, 1),
      heap: round(after.heap / MB, 1),
      redisMemory: round((pending - before.memory) / MB, 1),
      curve: curveOf(late, expected),
    };
    const { p50, p99, max } = run;
    log(
      `${run.handled} of ${expected}, p50 ${p50}, p99 ${p99}, max ${max} ms; CPU: Redis ${run.redisCpu} s, Node ${run.nodeCpu} s`,
    );
    return run;
  } finally {
    await child.stop();
  }
}

/**
 * @param {Redis} redis
 * @param {Contender} child
 */
async function snapshot(redis, child) {
  return {
    redisCpu: await serverCpu(redis),
    memory: await usedMemory(redis),
    ...(await child.sample()),
  };
}
