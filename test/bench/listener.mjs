/**
 * How many expiries a second one process takes: a real Nest application with a trivial handler, a
 * real server, every key heard, looked up, and handed over. Run it after `npm run build`:
 *
 *     node test/bench/listener.mjs [keys, 300000 unless told]
 *
 * The server announces nothing by itself (DEBUG SET-ACTIVE-EXPIRE 0). When all keys are due, a
 * process of its own touches them, many in one EXISTS, as fast as the server takes it: faster than
 * any listener, so what the server may hold for this one is not limited (the default is 32 MB).
 *
 * Prints one JSON object and one line for humans; ends with code 1 if anything was lost. On a
 * machine that does other work, `microsecondsCpuPerExpiry` is the figure to compare.
 */
import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import { locateRedisServer } from '../support/redis/locate.mjs';
import { RedisServer } from '../support/redis/redis-server.mjs';

const KEYS_PER_TOUCH = 500;
/** Ms without a new event after which the rest is taken for lost. */
const PATIENCE = 5_000;

/** @param {number} i */
const keyOf = (i) => `device:${i}`;

/** @param {string[]} words */
const command = (words) =>
  `*${words.length}\r\n${words.map((w) => `$${Buffer.byteLength(w)}\r\n${w}\r\n`).join('')}`;

/**
 * The process that touches the keys. Says `ready`, and touches once it is told to.
 *
 * @param {number} port
 * @param {number} keys
 */
async function touch(port, keys) {
  const redis = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(redis, 'connect');
  const commands = [];
  for (let i = 0; i < keys; i += KEYS_PER_TOUCH) {
    const count = Math.min(KEYS_PER_TOUCH, keys - i);
    const names = Array.from({ length: count }, (_, j) => keyOf(i + j));
    commands.push(command(['EXISTS', ...names]));
  }
  const bytes = Buffer.from(commands.join(''));
  process.stdout.write('ready\n');
  await once(process.stdin, 'data');

  const startedAt = performance.timeOrigin + performance.now();
  let answers = 0;
  redis.on('data', (chunk) => {
    for (const byte of chunk) if (byte === 0x0a) answers++;
    if (answers < commands.length) return;
    const endedAt = performance.timeOrigin + performance.now();
    process.stdout.write(`${JSON.stringify({ startedAt, endedAt })}\n`);
    redis.destroy();
    process.stdin.destroy();
  });
  redis.write(bytes);
}

/**
 * Sets the keys: all are due at once, and stay until they are touched.
 *
 * @param {Redis} redis
 * @param {number} keys
 */
async function setKeys(redis, keys) {
  for (let i = 0; i < keys; i += 10_000) {
    const pipeline = redis.pipeline();
    for (let j = i; j < Math.min(i + 10_000, keys); j++)
      pipeline.set(keyOf(j), '1', 'PX', 1);
    await pipeline.exec();
  }
  await delay(5);
}

/** @param {string} text */
const lines = (text) => text.split('\n').map((line) => line.split(':'));

/**
 * @param {Redis} redis
 * @returns {Promise<number>} seconds of CPU time that the server used
 */
async function serverCpu(redis) {
  const fields = new Map(
    lines(await redis.info('cpu')).map(([name, value]) => [name, value]),
  );
  return (
    Number(fields.get('used_cpu_sys')) + Number(fields.get('used_cpu_user'))
  );
}

/** @param {number} keys */
async function measure(keys) {
  // By a name that only this run resolves: type checks must not ask for a build.
  const library = new URL('../../dist/index.js', import.meta.url).href;
  const { OnKeyExpired, RedisExpiryModule, RedisExpirySubscriber } =
    await import(library);
  const { path, version } = await locateRedisServer();
  const server = await RedisServer.start({
    path,
    args: ['--enable-debug-command', 'local'],
  });
  const redis = new Redis(server.port, '127.0.0.1');
  await redis.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  await redis.config('SET', 'client-output-buffer-limit', 'pubsub 0 0 0');

  let handled = 0;
  let lastAt = 0;
  class Handlers {
    onExpired() {
      handled++;
      if (handled === keys) lastAt = performance.timeOrigin + performance.now();
    }
  }
  const { prototype } = Handlers;
  const method = Object.getOwnPropertyDescriptor(prototype, 'onExpired');
  Reflect.decorate([OnKeyExpired('device:*')], prototype, 'onExpired', method);
  const app = await NestFactory.createApplicationContext(
    {
      module: Handlers,
      imports: [
        RedisExpiryModule.forRoot({
          connection: server.url,
          punctual: false,
          queueLimit: Math.max(keys, 500_000),
        }),
      ],
      providers: [Handlers],
    },
    { logger: ['error', 'warn'] },
  );
  const subscriber = app.get(RedisExpirySubscriber, { strict: false });

  await setKeys(redis, keys);
  const child = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), 'touch', `${server.port}`, `${keys}`],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const says = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await says.next();
  const cpuBefore = process.cpuUsage();
  const serverBefore = await serverCpu(redis);
  child.stdin.write('go\n');

  for (let seen = -1, since = 0; handled < keys;) {
    await delay(20);
    if (seen !== handled) [seen, since] = [handled, Date.now()];
    else if (Date.now() - since > PATIENCE) break;
  }
  const cpu = process.cpuUsage(cpuBefore);
  const { startedAt, endedAt } =
    /** @type {{ startedAt: number, endedAt: number }} */ (
      JSON.parse((await says.next()).value)
    );
  const seconds = ((lastAt || Date.now()) - startedAt) / 1_000;
  const serverSeconds = (await serverCpu(redis)) - serverBefore;
  const { counters, nodes } = subscriber.status();
  const memory = process.memoryUsage();
  const result = {
    keys,
    handled,
    lost: keys - handled,
    seconds: round(seconds, 3),
    expiriesPerSecond: Math.round(handled / seconds),
    /** How fast the server announced them, which bounds the above. */
    announcedPerSecond: Math.round((keys / (endedAt - startedAt)) * 1_000),
    nodeCpuShare: round((cpu.user + cpu.system) / 1e6 / seconds, 2),
    serverCpuShare: round(serverSeconds / seconds, 2),
    microsecondsCpuPerExpiry: round((cpu.user + cpu.system) / keys, 2),
    rssMb: megabytes(memory.rss),
    peakRssMb: round(process.resourceUsage().maxRSS / 1024, 1),
    heapUsedMb: megabytes(memory.heapUsed),
    gaps: nodes[0]?.gaps,
    counters,
    node: process.version,
    server: version,
    cores: availableParallelism(),
  };
  await app.close();
  redis.disconnect();
  await server.stop();
  return result;
}

/** @param {number} value @param {number} digits */
const round = (value, digits) => Number(value.toFixed(digits));
/** @param {number} bytes */
const megabytes = (bytes) => round(bytes / 1024 / 1024, 1);

const [first, second, third] = process.argv.slice(2);
if (first === 'touch') {
  await touch(Number(second), Number(third));
} else {
  const result = await measure(Number(first ?? 300_000));
  console.log(JSON.stringify(result, undefined, 2));
  console.log(
    `${result.expiriesPerSecond.toLocaleString('en')} expiries/s, ${result.lost} lost of ${result.keys.toLocaleString('en')}; ` +
      `Node at ${Math.round(result.nodeCpuShare * 100)} % of a core, peak ${Math.round(result.peakRssMb)} MB; ` +
      `the server announced ${result.announcedPerSecond.toLocaleString('en')}/s`,
  );
  if (result.lost > 0 || counted(result.counters) !== result.keys)
    process.exitCode = 1;
}

/** @param {{ handled: number, superseded: number, dropped: number, failed: number }} counters */
function counted({ handled, superseded, dropped, failed }) {
  return handled + superseded + dropped + failed;
}
