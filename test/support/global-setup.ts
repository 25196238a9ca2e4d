import type {} from 'vitest'; // an augmentation finds only what the program imports
import type { TestProject } from 'vitest/node';
import { makePrograms } from './programs.js';
import { type RedisVariant, locateRedisServer } from './redis/locate.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    /** The server program of tests that run on one. */
    redisServerPath: string;
    /** The server programs of tests that run on every one. */
    redisServers: { name: string; path: string }[];
    /** Where the programs are that tests run as processes. */
    programs: string;
  }
}

/**
 * Once for all workers: they must not unpack or build a server each.
 *
 * REDIS_VARIANTS, as in `redis7,redis8,valkey8`: the servers that tests of Redis's own behaviour run
 * on. Without it that is the one server which the other tests have, too.
 */
export default async function setup(
  project: TestProject,
): Promise<() => Promise<void>> {
  const log = (line: string) => console.log(line);
  const located = await locateRedisServer({ log });
  const { path, origin, version } = located;
  log(`Redis server ${version} from ${origin}: ${path}`);

  const servers: { name: string; path: string }[] = [];
  const variants = (process.env.REDIS_VARIANTS ?? '').split(',');
  for (const variant of variants.filter(Boolean) as RedisVariant[]) {
    const server = await locateRedisServer({ variant, log });
    log(`${variant}: ${server.version} from ${server.origin}: ${server.path}`);
    servers.push({ name: variant, path: server.path });
  }
  if (servers.length === 0) servers.push({ name: `Redis ${version}`, path });
  project.provide('redisServerPath', path);
  project.provide('redisServers', servers);

  const programs = await makePrograms();
  project.provide('programs', programs.dir);
  return () => programs.remove();
}
