/** Runs one of the small samples: `npm run sample 01-quick-start`. It starts a Redis, unless REDIS_URL names one. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { locateRedisServer } from '../test/support/redis/locate.mjs';
import { RedisServer } from '../test/support/redis/redis-server.mjs';

const here = import.meta.dirname;
const names = readdirSync(here).filter((name) => /^\d\d-/.test(name));
const [wanted = ''] = process.argv.slice(2);
const name = names.find((one) => wanted !== '' && one.startsWith(wanted));

if (name === undefined) {
  console.error(`Usage: npm run sample NAME, one of ${names.join(', ')}`);
  process.exit(1);
}
if (!existsSync(join(here, name, 'main.ts'))) {
  const vitest = join(here, '../node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--project', 'short', `sample/${name}`];
  const { status } = spawnSync(process.execPath, args, {
    cwd: join(here, '..'),
    stdio: 'inherit',
  });
  process.exit(status ?? 1);
}

const cluster = join(here, name, 'cluster.mjs');
if (existsSync(cluster)) await startCluster();
else if (!process.env.REDIS_URL) await startRedis();
const program = join(here, 'dist', name, 'main.js');
await import(pathToFileURL(program).href);

async function startRedis() {
  const log = (/** @type {string} */ line) => console.log(line);
  const { path } = await locateRedisServer({ log });
  const { url } = await RedisServer.start({ path });
  console.log(`Redis, private to this run: ${url}`);
  process.env.REDIS_URL = url;
}

async function startCluster() {
  const module = await import(pathToFileURL(cluster).href);
  const ports = /** @type {number[]} */ (await module.startCluster());
  process.env.REDIS_NODES = ports.map((port) => `127.0.0.1:${port}`).join(',');
  console.log(`a Cluster, private to this run: ${process.env.REDIS_NODES}`);
}
