import {
  type DynamicModule,
  Injectable,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { expect, onTestFinished } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  RedisExpirySubscriber,
} from '../../lib/index.js';
import type { Collector } from './collect.js';
import { eventually } from './eventually.js';
import { LogBook } from './logs.js';
import { TestServer } from './servers.js';

export type TestOptions = RedisExpiryModuleOptions & { isGlobal?: boolean };

/** Plain notifications only: what these tests are about. */
export const plain = <T extends RedisExpiryModuleOptions>(options: T) => ({
  punctual: false,
  // Bounds how long a test that fails with a handler in flight takes.
  shutdownTimeout: 3_000,
  ...options,
});

/** The module on a test's server. */
export const redisExpiry = (
  server: TestServer,
  options: TestOptions = {},
): DynamicModule =>
  RedisExpiryModule.forRoot(plain({ connection: server.url, ...options }));

export interface TestApp {
  readonly app: TestingModule;
  readonly logs: LogBook;
  /** The subscriber of the only `forRoot`. */
  readonly subscriber: RedisExpirySubscriber;
  /** Closes the application; more than once does nothing. */
  readonly close: () => Promise<void>;
}

const open = new Set<TestApp>();

/** A Nest application that is made but not started; closed when the test is over. */
export async function compileApp(metadata: ModuleMetadata): Promise<TestApp> {
  const logs = new LogBook();
  const app = await Test.createTestingModule(metadata)
    .setLogger(logs)
    .compile();
  let closed: Promise<void> | undefined;
  let started = true;
  const init = app.init.bind(app);
  app.init = async () => {
    started = false;
    await init();
    started = true;
    return app;
  };
  const testApp: TestApp = {
    app,
    logs,
    get subscriber() {
      return app.get(RedisExpirySubscriber, { strict: false });
    },
    close: () => (closed ??= started ? app.close() : closeUnstarted(app)),
  };
  open.add(testApp);
  onTestFinished(async () => {
    await testApp.close();
    open.delete(testApp);
    if (open.size === 0) await expectNoConnections();
  });
  return testApp;
}

/** Nest 11 rejects once more with what the start was rejected with, and runs no hooks. */
async function closeUnstarted(app: TestingModule): Promise<void> {
  try {
    await app.close();
  } catch {
    const hooks = app as unknown as Record<string, () => Promise<void>>;
    await hooks['callDestroyHook']!();
    await hooks['callShutdownHook']!();
  }
}

/** A Nest application that is up; closed when the test is over, and then it must have left nothing. */
export async function createApp(metadata: ModuleMetadata): Promise<TestApp> {
  const testApp = await compileApp(metadata);
  await testApp.app.init();
  return testApp;
}

/** No server of the tests has a connection that the tests did not make. */
export async function expectNoConnections(
  servers: Iterable<TestServer> = TestServer.running,
): Promise<void> {
  for (const server of servers) {
    await eventually(async () => {
      expect(await server.connections()).toEqual([]);
    });
  }
}

/** A provider with one method that is decorated with the patterns, and that keeps its events. */
export function recording(
  events: Collector<KeyExpiredEvent>,
  ...patterns: string[]
): Type {
  @Injectable()
  class Recording {
    onExpired(event: KeyExpiredEvent): void {
      events.add(event);
    }
  }
  const { prototype } = Recording;
  const method = Object.getOwnPropertyDescriptor(prototype, 'onExpired')!;
  for (const pattern of patterns)
    OnKeyExpired(pattern)(prototype, 'onExpired', method);
  return Recording;
}
