import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/**
 * What `npm run test:faults` runs and `npm test` does not: tests that take long because what they
 * are about does. Processes and servers are killed over and over, Clusters and Sentinels fail over,
 * networks are silent until somebody notices.
 */
const LONG = [
  'test/faults/{cluster,group,sentinel}/**/*.spec.ts',
  'test/faults/access-revoked.spec.ts',
  'test/faults/connection-killed.spec.ts',
  'test/faults/demoted-primary*.spec.ts',
  'test/faults/flags-overwritten.spec.ts',
  'test/faults/overload.spec.ts',
  'test/faults/silent-network.spec.ts',
  'test/integration/support/**/*.spec.ts',
];

/** Short tests that need a process to themselves: they set its clock, or measure its heap. */
const ALONE = [
  'test/integration/heap.spec.ts',
  'test/unit/connection/connection-source.spec.ts',
  'test/unit/deadlines/{discovery,due-loop,duplicate-filter,memory-index,ttl-batcher}.spec.ts',
  'test/unit/dispatch/{handler-call,long-runs,observed-try}.spec.ts',
  'test/unit/group/lease-shares.spec.ts',
  'test/unit/listening/{gap-totals,listening-state}.spec.ts',
  'test/unit/testing/expiry-tester.spec.ts',
  'test/unit/topology/cluster-scout.spec.ts',
  'test/unit/util/{key-batch,lifetime,sleep,soonest-timer}.spec.ts',
];

const SOAK = 'test/soak/**/*.spec.ts';

const source = (path: string): string =>
  fileURLToPath(new URL(`lib/${path}`, import.meta.url));

/** What all projects have. It is not inherited: what a root says that sets everything up would be done for each of them. */
const common = {
  // Samples import the package by its name, as users do.
  resolve: {
    alias: [
      {
        find: 'nestjs-redis-expiry/testing',
        replacement: source('testing/index.ts'),
      },
      { find: /^nestjs-redis-expiry$/, replacement: source('index.ts') },
    ],
  },
  // Vite would read these from tsconfig.json, but only for files it includes; said here, the
  // metadata that dependency injection needs cannot vanish when `include` changes.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
};

/** Above what a test waits for one thing: see test/support/patience.ts. */
const timeouts = { testTimeout: 180_000, hookTimeout: 180_000 };

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // Most tests wait most of the time, so that two cores serve four of them, and six of the short ones.
    maxWorkers: 4,
    dangerouslyIgnoreUnhandledErrors: false,
    projects: [
      {
        ...common,
        test: {
          ...timeouts,
          name: 'short',
          include: ['test/**/*.spec.ts', 'sample/05-testing/*.spec.ts'],
          exclude: [...LONG, ...ALONE, SOAK, 'test/smoke/**'],
          // To load Nest and the library anew for each file took half of the time of a run.
          isolate: false,
          setupFiles: ['test/support/shared-process.ts'],
        },
      },
      { ...common, test: { ...timeouts, name: 'alone', include: ALONE } },
      {
        ...common,
        test: {
          ...timeouts,
          name: 'faults',
          include: LONG,
          isolate: false,
          setupFiles: ['test/support/shared-process.ts'],
        },
      },
      { ...common, test: { ...timeouts, name: 'soak', include: [SOAK] } },
    ],
  },
});
