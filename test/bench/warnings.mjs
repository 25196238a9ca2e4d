/**
 * How late are the warnings of `@OnKeyExpiring`? Of a million keys, each is to be warned of a minute before it runs out.
 * Run by hand, after `npm run build`:
 *
 *     node test/bench/warnings.mjs                        in broadcast
 *     node test/bench/warnings.mjs --group                in a group of one process
 *     node test/bench/warnings.mjs --over 200             5,000 a second instead of 500
 *
 * The keys are there when the application starts. Their warnings are due over so many seconds (`--over`), beginning when all
 * deadlines are known; the first ones (`--first`) are measured. Prints how late they came, as the events tell it and as the handler saw it.
 */
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import { RedisExpiryModule, RedisExpirySubscriber } from '../../dist/index.js';
import { locateRedisServer } from '../support/redis/locate.mjs';
import { RedisServer } from '../support/redis/redis-server.mjs';
import { setKeys } from './bulk.mjs';
import { latenessOf } from './stats.mjs';

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    over: { type: 'string', default: '2000' },
    first: { type: 'string', default: '20000' },
    group: { type: 'boolean', default: false },
  },
});
const count = Number(values.keys);
const expected = Math.min(count, Number(values.first));
const overMs = Number(values.over) * 1_000;
const BEFORE_MS = 60_000;
/** For writing the keys, and for the scan. */
const HEAD_START_MS = 15_000 + count / 25;

const server = await RedisServer.start({
  path: (await locateRedisServer()).path,
});
const redis = new Redis(server.port, '127.0.0.1');
const cpuOf = async () => {
  const info = await redis.info('cpu');
  const of = (/** @type {string} */ kind) =>
    Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]);
  return of('user') + of('sys');
};
const firstAt = Date.now() + HEAD_START_MS;
await setKeys(server.port, count, (i) => [
  ...[`s:${i}`, '1', 'PXAT'],
  String(Math.round(firstAt + BEFORE_MS + (overMs * i) / count)),
]);

/** @type {number[]} */
const told = [];
/** @type {number[]} */
const seen = [];
let late = 0;
class App {
  name = 'bench';
}
const app = await NestFactory.createApplicationContext(
  {
    module: App,
    imports: [
      RedisExpiryModule.forRoot({
        connection: server.url,
        ...(values.group && { group: 'bench' }),
      }),
    ],
  },
  { logger: ['warn', 'error'] },
);
const subscriber = app.get(RedisExpirySubscriber, { strict: false });
await subscriber.subscribeExpiring(
  's:*',
  { before: BEFORE_MS },
  ({ lateness, deadline, source }) => {
    told.push(lateness);
    seen.push(Date.now() - (deadline.getTime() - BEFORE_MS));
    if (source === 'recovery') late++;
  },
);
await subscriber.ready();
console.log(
  `${count} keys known ${Math.round(firstAt - Date.now())} ms before the first warning; ${Math.round((count / overMs) * 1_000)} warnings a second`,
);
await new Promise((resolve) =>
  setTimeout(resolve, Math.max(0, firstAt - Date.now())),
);
const [redisCpu, nodeCpu] = [await cpuOf(), process.cpuUsage()];
const end = firstAt + (overMs * expected) / count + 5_000;
while (told.length < expected && Date.now() < end)
  await new Promise((resolve) => setTimeout(resolve, 500));
const used = process.cpuUsage(nodeCpu);
console.log({
  warnings: told.length,
  recovered: late,
  toldMs: latenessOf(told, expected),
  seenMs: latenessOf(seen, expected),
  redisUsEach: Math.round((((await cpuOf()) - redisCpu) * 1e6) / told.length),
  nodeUsEach: Math.round((used.user + used.system) / told.length),
  rssMb: Math.round(process.memoryUsage().rss / 2 ** 20),
  counters: subscriber.status().counters,
});
await app.close();
redis.disconnect();
await server.stop();
