/**
 * What does it cost Redis that keys are tracked which are renewed all the time? The same SETs with
 * notifications off and nobody listening, with the library tracking each of the keys, and with a
 * group of it, in turns; and, beside them, renewals of as many delayed jobs of BullMQ's.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { send, sendApart, setCommands } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { removeKeys, serverCpu } from '../redis-info.mjs';
import { DelayedJobs } from '../renewals.mjs';
import { median, round } from '../stats.mjs';

/** @typedef {{ name: 'flood' | 'paced' | 'apart', keys: number, ttl: number, sets: number, renewals: number, perSecond?: number, warmUp: number, rounds: number }} Pace */
/** @typedef {'alone' | 'tracked' | 'group' | 'bullmq'} Side */

/**
 * A flood measures what a SET costs. It is over before any key falls due, so two others keep the
 * pace of life: every key renewed three times in its time to live, and looked at once in that time;
 * a thousand together in one go, and each by itself, as devices send them.
 *
 * @param {boolean} quick
 * @returns {Pace[]}
 */
const paces = (quick) => {
  const ofLife = {
    keys: 20_000,
    ttl: 6,
    sets: quick ? 40_000 : 120_000,
    renewals: quick ? 40_000 : 120_000,
    perSecond: 10_000,
    // Until the looks at the keys are spread as they are in the long run.
    warmUp: 60_000,
    rounds: quick ? 1 : 3,
  };
  return [
    {
      name: 'flood',
      keys: 10_000,
      ttl: 30,
      sets: quick ? 200_000 : 2_000_000,
      // Of delayed jobs: dozens of times as dear.
      renewals: quick ? 20_000 : 100_000,
      warmUp: 0,
      rounds: quick ? 3 : 7,
    },
    { name: 'paced', ...ofLife },
    { name: 'apart', ...ofLife },
  ];
};

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<import('../results.mjs').Heartbeat[]>}
 */
export async function heartbeat({ path, quick, log }) {
  const results = [];
  for (const pace of paces(quick)) {
    const { name, keys, sets, perSecond, ttl, rounds } = pace;
    const server = await RedisServer.start({ path });
    const redis = new Redis(server.port, '127.0.0.1');
    /** @type {Record<Side, number[]>} */
    const costs = { alone: [], tracked: [], group: [], bullmq: [] };
    const sides = /** @type {Side[]} */ (Object.keys(costs));
    const inGroup = { gaps: 0 };
    try {
      const measure = sidesOf(pace, { port: server.port, redis, inGroup, log });
      await measure.alone();
      for (let i = 0; i < rounds; i++) {
        // A B C D, D C B A…: a machine that gets slower or faster meanwhile favours none.
        for (const side of i % 2 === 0 ? sides : sides.toReversed()) {
          await redis.config('SET', 'notify-keyspace-events', '');
          await removeKeys(redis, ['rx:*', 'bull:*']);
          costs[side].push(await measure[side]());
        }
        const told = sides.map(
          (side) => `${side} ${round(costs[side].at(-1) ?? 0, 3)}`,
        );
        log(`${name}, round ${i + 1} of ${rounds}, µs: ${told.join(', ')}`);
      }
    } finally {
      redis.disconnect();
      await server.stop();
    }
    const ratioOf = (/** @type {Side} */ side) =>
      round(median(costs[side]) / median(costs.alone), 3);
    results.push({
      pace: name,
      keys,
      sets,
      ...(perSecond !== undefined && { perSecond }),
      ttl,
      alone: costs.alone.map((us) => round(us, 3)),
      tracked: costs.tracked.map((us) => round(us, 3)),
      ratio: ratioOf('tracked'),
      group: costs.group.map((us) => round(us, 3)),
      groupRatio: ratioOf('group'),
      groupGaps: inGroup.gaps,
      bullmq: costs.bullmq.map((us) => round(us, 3)),
      bullmqRatio: ratioOf('bullmq'),
    });
  }
  return results;
}

/**
 * What each side measures: µs of Redis's CPU time per renewal.
 *
 * @param {Pace} pace
 * @param {object} context
 * @param {number} context.port
 * @param {Redis} context.redis
 * @param {{ gaps: number }} context.inGroup counts the gaps in the group's listening
 * @param {(line: string) => void} context.log
 * @returns {Record<Side, () => Promise<number>>}
 */
function sidesOf({ keys, ttl, perSecond, ...pace }, context) {
  const { port, redis, inGroup, log } = context;
  /** Once over all keys. */
  const words = (/** @type {number} */ i) => [`due:${i}`, '1', 'EX', `${ttl}`];
  const turn = [...setCommands(keys, words)];
  const isApart = pace.name === 'apart';
  const ofLife = isApart ? [...setCommands(keys, words, 1)] : turn;
  const turns = (/** @type {number} */ sets) =>
    Array.from({ length: sets / keys }, () => ofLife).flat();
  const beat = (/** @type {typeof turn} */ pieces) =>
    isApart && perSecond !== undefined
      ? sendApart(port, pieces, perSecond)
      : send(port, pieces, perSecond);
  const beats = turns(pace.sets);
  const firstBeats = turns(pace.warmUp);
  const costOf = async (
    /** @type {number} */ count,
    /** @type {() => Promise<void>} */ work,
  ) => {
    const before = await serverCpu(redis);
    await work();
    return (((await serverCpu(redis)) - before) / count) * 1e6;
  };
  const measure = () => costOf(pace.sets, () => beat(beats));

  /** @param {string} [group] */
  const watched = async (group) => {
    await send(port, turn);
    const { contender } = await Contender.start('library', {
      port,
      expected: keys,
      ...(group !== undefined && { group }),
    });
    try {
      await beat(firstBeats);
      const cost = await measure();
      const { nodes, groups } = await contender.status();
      const { tracked } = groups[0] ?? nodes[0];
      const { gaps } = (groups[0] ?? { nodes }).nodes[0];
      const { handled } = await contender.sample();
      if (tracked !== keys || handled > 0 || gaps > 0)
        log(
          `${tracked} of ${keys} keys are tracked, ${handled} expired, ${gaps} gaps in listening`,
        );
      if (group !== undefined) inGroup.gaps += gaps;
      return cost;
    } finally {
      await contender.stop();
    }
  };
  const bullmq = async () => {
    const { contender } = await Contender.start('bullmq', {
      port,
      expected: keys,
    });
    const jobs = await DelayedJobs.add(port, keys, ttl * 1_000);
    try {
      await jobs.renew(pace.warmUp, perSecond);
      const cost = await costOf(pace.renewals, () =>
        jobs.renew(pace.renewals, perSecond),
      );
      const { handled } = await contender.sample();
      if (handled > 0) log(`${handled} jobs ran: their renewals came too late`);
      return cost;
    } finally {
      await jobs.close();
      await contender.stop();
    }
  };
  return {
    alone: async () => {
      await send(port, turn);
      return measure();
    },
    tracked: () => watched(),
    group: () => watched('bench'),
    bullmq,
  };
}
