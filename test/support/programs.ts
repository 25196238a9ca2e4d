import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const inRoot = (path: string): string =>
  fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** What tests run in processes of their own, by the names of their files. */
const PROGRAMS = {
  'child-app': 'test/support/faults/child-app.mjs',
  'soak-instance': 'test/support/soak/instance.mjs',
  worker: 'test/support/group/worker.mjs',
  bin: 'lib/cli/bin.ts',
};

export type ProgramName = keyof typeof PROGRAMS;

/** Programs as files of their own, with all that they need in them, of the sources as they are now: `dist` may be of yesterday. */
export interface Programs {
  readonly dir: string;
  remove(): Promise<void>;
}

/**
 * Bundles the programs, once for all tests of a run. A process that reads one file is there in a fifth of the time that
 * it takes to find and read the hundreds of which Nest, ioredis and the library are made.
 *
 * SOAK_LIBRARY: another build of the library that they are to run, as in `…/dist/index.js`.
 */
export async function makePrograms(): Promise<Programs> {
  const root = await mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-programs-'));
  // The command tells its version by the file two folders above it.
  const dir = join(root, 'dist/cli');
  await build({
    configFile: false,
    logLevel: 'error',
    root: inRoot(''),
    oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
    resolve: {
      alias: {
        'nestjs-redis-expiry':
          process.env['SOAK_LIBRARY'] ?? inRoot('lib/index.ts'),
      },
    },
    ssr: { noExternal: true },
    build: {
      ...{ ssr: true, target: 'node20', outDir: dir, emptyOutDir: true },
      rolldownOptions: {
        input: Object.fromEntries(
          Object.entries(PROGRAMS).map(([name, path]) => [name, inRoot(path)]),
        ),
        // Nest does without them where they are not installed.
        external: [/^@nestjs\/(microservices|websockets|platform-)/, /^class-/],
      },
    },
  });
  await copyFile(inRoot('package.json'), join(root, 'package.json'));
  return { dir, remove: () => rm(root, { recursive: true, force: true }) };
}
