/**
 * What does it cost Redis to write a key whose expiry cannot be lost? `arm` one by one, and beside it, in turns,
 * `add` of a delayed job of BullMQ's; and, as the least that there is, a plain SET with a time to live.
 */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { RedisExpiryKeys, RedisExpiryModule } from '../../../dist/index.js';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { removeKeys, serverCpu, settledMemory } from '../redis-info.mjs';
import { median, round } from '../stats.mjs';

/** @typedef {'set' | 'arm' | 'bullmq'} Side */

/**
 * @typedef {object} Arming
 * @property {number} keys a round
 * @property {Record<Side, number[]>} cpu µs of Redis's CPU time for each, each round
 * @property {Record<Side, number[]>} bytes of Redis's memory for each, each round
 */

const HOUR = 3_600_000;
/** Whatever class: a module has to have one. */
class Root {
  isRoot = true;
}

/** Calls that are on their way together. */
const AT_ONCE = 100;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<Arming>}
 */
export async function arm({ path, quick, log }) {
  const keys = quick ? 5_000 : 50_000;
  const rounds = quick ? 2 : 6;
  const server = await RedisServer.start({ path });
  const { port } = server;
  const redis = new Redis(port, '127.0.0.1');
  const connection = { host: '127.0.0.1', port };
  const queue = new Queue('due', { connection });
  const app = await NestFactory.createApplicationContext(
    {
      module: Root,
      imports: [
        RedisExpiryModule.forRoot({
          connection,
          group: 'bench',
          enabled: false,
        }),
      ],
    },
    { logger: false },
  );
  const writer = app.get(RedisExpiryKeys, { strict: false });
  const ttlOf = (/** @type {number} */ i) => 2 * HOUR + i;
  /** @type {Record<Side, (i: number) => Promise<unknown>>} */
  const calls = {
    set: (i) => redis.set(`due:${i}`, '1', 'PX', ttlOf(i)),
    arm: (i) => writer.arm(`due:${i}`, { ttl: ttlOf(i), value: '1' }),
    bullmq: (i) =>
      queue.add(
        'due',
        { n: i },
        { jobId: `due-${i}`, delay: ttlOf(i), removeOnComplete: true },
      ),
  };
  const sides = /** @type {Side[]} */ (Object.keys(calls));
  /** @type {Arming} */
  const result = {
    keys,
    cpu: { set: [], arm: [], bullmq: [] },
    bytes: { set: [], arm: [], bullmq: [] },
  };
  try {
    // Scripts are loaded, and connections made, before anything is measured.
    for (const side of sides) await calls[side](0);
    for (let n = 0; n < rounds; n++) {
      // A B C, C B A…: a machine that gets slower or faster meanwhile favours none.
      for (const side of n % 2 === 0 ? sides : sides.toReversed()) {
        await removeKeys(redis, ['due:*', 'rx:*', 'bull:due:*']);
        const empty = await settledMemory(redis, 500);
        const before = await serverCpu(redis);
        for (let from = 0; from < keys; from += AT_ONCE)
          await Promise.all(
            Array.from({ length: AT_ONCE }, (_, i) => calls[side](from + i)),
          );
        const cpu = ((await serverCpu(redis)) - before) / keys;
        const bytes = ((await settledMemory(redis, 500)) - empty) / keys;
        result.cpu[side].push(round(cpu * 1e6, 2));
        result.bytes[side].push(round(bytes, 1));
      }
      const told = sides.map(
        (side) =>
          `${side} ${result.cpu[side].at(-1)} µs, ${result.bytes[side].at(-1)} bytes`,
      );
      log(`round ${n + 1} of ${rounds}: ${told.join('; ')}`);
    }
  } finally {
    await app.close();
    await queue.close();
    redis.disconnect();
    await server.stop();
  }
  const medians = sides.map(
    (side) =>
      `${side} ${median(result.cpu[side])} µs, ${median(result.bytes[side])} bytes`,
  );
  log(`medians: ${medians.join('; ')}`);
  return result;
}
