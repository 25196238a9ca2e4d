/**
 * What does it cost Redis that keys are tracked which are renewed all the time? The same SETs with
 * notifications off and nobody listening, and with the library tracking each of the keys, in turns.
 */
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { send, setCommands } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { serverCpu } from '../redis-info.mjs';
import { median, round } from '../stats.mjs';

/** @typedef {{ name: 'flood' | 'paced', keys: number, ttl: number, sets: number, perSecond?: number, warmUp: number, rounds: number }} Pace */

/**
 * A flood measures what a SET costs. It is over before any key falls due, so a second one keeps the
 * pace of life: every key renewed three times in its time to live, and looked at once in that time.
 *
 * @param {boolean} quick
 * @returns {Pace[]}
 */
const paces = (quick) => [
  {
    name: 'flood',
    keys: 10_000,
    ttl: 30,
    sets: quick ? 200_000 : 2_000_000,
    warmUp: 0,
    rounds: quick ? 3 : 7,
  },
  {
    name: 'paced',
    keys: 20_000,
    ttl: 6,
    sets: quick ? 40_000 : 120_000,
    perSecond: 10_000,
    // Until the looks at the keys are spread as they are in the long run.
    warmUp: 60_000,
    rounds: quick ? 1 : 3,
  },
];

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<import('../results.mjs').Heartbeat[]>}
 */
export async function heartbeat({ path, quick, log }) {
  const results = [];
  for (const pace of paces(quick)) {
    const { name, keys, ttl, sets, perSecond, warmUp, rounds } = pace;
    const server = await RedisServer.start({ path });
    const redis = new Redis(server.port, '127.0.0.1');
    /** Once over all keys. */
    const turn = [
      ...setCommands(keys, (i) => [`due:${i}`, '1', 'EX', `${ttl}`]),
    ];
    const beats = Array.from({ length: sets / keys }, () => turn).flat();
    const firstBeats = Array.from({ length: warmUp / keys }, () => turn).flat();
    /** @returns {Promise<number>} µs of Redis's CPU time per SET */
    const measure = async () => {
      const before = await serverCpu(redis);
      await send(server.port, beats, perSecond);
      return (((await serverCpu(redis)) - before) / sets) * 1e6;
    };
    const alone = async () => {
      await redis.config('SET', 'notify-keyspace-events', '');
      await send(server.port, turn);
      return measure();
    };
    const tracked = async () => {
      await send(server.port, turn);
      const { contender } = await Contender.start('library', {
        port: server.port,
        expected: keys,
      });
      try {
        await send(server.port, firstBeats, perSecond);
        const cost = await measure();
        const count = (await contender.status()).nodes[0].tracked;
        const { handled } = await contender.sample();
        if (count !== keys || handled > 0)
          log(`${count} of ${keys} keys are tracked, ${handled} expired`);
        return cost;
      } finally {
        await contender.stop();
      }
    };

    /** @type {{ alone: number[], tracked: number[] }} */
    const costs = { alone: [], tracked: [] };
    try {
      await send(server.port, beats, perSecond);
      for (let i = 0; i < rounds; i++) {
        // A B, B A, A B…: a machine that gets slower or faster meanwhile favours none.
        const order = i % 2 === 0 ? [alone, tracked] : [tracked, alone];
        for (const side of order)
          (side === alone ? costs.alone : costs.tracked).push(await side());
        log(
          `${name}, round ${i + 1} of ${rounds}: alone ${costs.alone.at(-1)?.toFixed(3)} µs, tracked ${costs.tracked.at(-1)?.toFixed(3)} µs a SET`,
        );
      }
    } finally {
      redis.disconnect();
      await server.stop();
    }
    results.push({
      pace: name,
      keys,
      sets,
      ...(perSecond !== undefined && { perSecond }),
      ttl,
      alone: costs.alone.map((us) => round(us, 3)),
      tracked: costs.tracked.map((us) => round(us, 3)),
      ratio: round(median(costs.tracked) / median(costs.alone), 3),
    });
  }
  return results;
}
