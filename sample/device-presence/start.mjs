/** Runs the sample with a Redis of its own, or with the one that REDIS_URL names; once, or several times over. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { locateRedisServer } from '../../test/support/redis/locate.mjs';
import { RedisServer } from '../../test/support/redis/redis-server.mjs';

const usage = `Usage: npm start -- [options]
  --redis URL   a running Redis    (default: REDIS_URL, else a private one that ends with the sample)
  --port PORT   where the page is  (default: PORT, else 3000; if it is taken, some free port)
  --instances N so many processes that share the work, one of them killed every 12 s  (default: 1)
  --help`;

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

async function main() {
  const { values } = parseArgs({
    options: {
      redis: { type: 'string' },
      port: { type: 'string' },
      instances: { type: 'string', default: '1' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(usage);

  const instances = Number(values.instances);
  if (!Number.isInteger(instances) || instances < 1 || instances > 9)
    throw new Error('--instances: a whole number from 1 to 9');

  const { env } = process;
  env.REDIS_URL = values.redis || env.REDIS_URL || (await startRedis());
  env.PORT = await choosePort(values.port || env.PORT || '3000');
  allowImpatience();
  if (instances > 1) {
    const { runInstances } = await import('./instances.mjs');
    return runInstances(instances, env.REDIS_URL);
  }
  // Only now, as the application reads its environment when it is loaded.
  await import(new URL('dist/main.js', import.meta.url).href);
}

/** It needs no stopping: RedisServer ends it with this process, once the application has left. */
async function startRedis() {
  const log = (/** @type {string} */ line) => console.log(line);
  const { path, origin, version } = await locateRedisServer({ log });
  const { url } = await RedisServer.start({ path });
  console.log(`Redis ${version} from ${origin}, private to this run: ${url}`);
  return url;
}

/**
 * @param {string} wanted
 * @returns {Promise<string>} '0', which means any free one, if it is taken
 */
async function choosePort(wanted) {
  const probe = createServer();
  try {
    await once(probe.listen(wanted), 'listening');
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code !== 'EADDRINUSE') throw error;
    console.log(`Port ${wanted} is taken: using a free one`);
    return '0';
  } finally {
    probe.close();
  }
  return wanted;
}

/** The application leaves in good order on the first signal; whoever sends a second cannot wait. */
function allowImpatience() {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    let first = Infinity;
    process.on(signal, () => {
      first = Math.min(first, Date.now());
      const nobodyElseListens = process.listenerCount(signal) === 1;
      // Under npm one Ctrl-C arrives twice: from the terminal and from npm.
      if (nobodyElseListens || Date.now() - first > 250) process.exit(130);
    });
  }
}
