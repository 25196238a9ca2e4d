/** What does it cost to wait, when every deadline is far away? */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { setKeys } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { commandsRun } from '../redis-info.mjs';
import { round } from '../stats.mjs';

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<import('../results.mjs').Idle>}
 */
export async function idle({ path, quick, log }) {
  const keys = 100_000;
  const seconds = quick ? 5 : 20;
  const server = await RedisServer.start({ path });
  const redis = new Redis(server.port, '127.0.0.1');
  const { port } = server;
  try {
    await setKeys(port, keys, (i) => [`due:${i}`, '1', 'EX', '3600']);
    const { contender } = await Contender.start('library', {
      port,
      expected: 1,
    });
    await delay(3_000);
    const before = await contender.sample();
    const commandsBefore = await commandsRun(redis);
    await delay(seconds * 1_000);
    const commandsAfter = await commandsRun(redis);
    const after = await contender.sample();
    await contender.stop();
    const result = {
      keys,
      seconds,
      nodeCpuShare: round((after.cpu - before.cpu) / seconds, 5),
      // One of them is the second INFO.
      commandsPerSecond: round(
        (commandsAfter - commandsBefore - 1) / seconds,
        2,
      ),
    };
    log(
      `${round(result.nodeCpuShare * 100, 2)} % of a core, ${result.commandsPerSecond} commands a second`,
    );
    return result;
  } finally {
    redis.disconnect();
    await server.stop();
  }
}
