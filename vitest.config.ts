import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Vite would read these from tsconfig.json, but only for files it includes; said here, the
  // metadata that dependency injection needs cannot vanish when `include` changes.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    include: ['test/**/*.spec.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
