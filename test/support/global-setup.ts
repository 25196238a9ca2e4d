import type {} from 'vitest'; // an augmentation finds only what the program imports
import type { TestProject } from 'vitest/node';
import { locateRedisServer } from './redis/locate.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    redisServerPath: string;
  }
}

/** Once for all workers: they must not unpack or build a server each. */
export default async function setup(project: TestProject): Promise<void> {
  const { path, origin, version } = await locateRedisServer({
    log: (line) => console.log(line),
  });
  console.log(`Redis server ${version} from ${origin}: ${path}`);
  project.provide('redisServerPath', path);
}
