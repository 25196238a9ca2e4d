import { Injectable, type Type } from '@nestjs/common';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  type OnKeyExpiredOptions,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { type TestApp, createApp } from '../app.js';
import { eventually } from '../eventually.js';
import type { TestServer } from '../servers.js';

/** A provider with one method that is decorated with one pattern. */
export function handler(
  pattern: string,
  work: (event: KeyExpiredEvent) => unknown,
  options?: OnKeyExpiredOptions,
  name = 'Handler',
): Type {
  @Injectable()
  class Handler {
    onExpired(event: KeyExpiredEvent): unknown {
      return work(event);
    }
  }
  Object.defineProperty(Handler, 'name', { value: name });
  const { prototype } = Handler;
  OnKeyExpired(pattern, options)(
    prototype,
    'onExpired',
    Object.getOwnPropertyDescriptor(prototype, 'onExpired')!,
  );
  return Handler;
}

/** An application of the group `presence` on a test's server, or where a proxy leads; closed when the test is over. */
export function groupApp(
  server: Pick<TestServer, 'url'>,
  providers: Type[],
  options: RedisExpiryModuleOptions = {},
): Promise<TestApp> {
  return createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: server.url,
        group: 'presence',
        shutdownTimeout: 3_000,
        ...options,
      }),
    ],
    providers,
  });
}

/** What a group leaves in Redis, by key: how much is in it. */
export async function groupState(
  server: TestServer,
  group = 'presence',
  prefix = 'rx:',
): Promise<Record<string, number | string>> {
  const { redis } = server;
  const state: Record<string, number | string> = {};
  for (const key of await redis.keys(`*${prefix}{${group}}:*`)) {
    const part = key.slice(key.lastIndexOf(':') + 1);
    const type = await redis.type(key);
    if (type === 'zset') state[part] = await redis.zcard(key);
    else if (type === 'stream') state[part] = await redis.xlen(key);
    else state[part] = type;
  }
  return state;
}

/** Resolves once the group has nothing left to do: nothing waits, is worked on, or is to be tried again. */
export async function groupIsDone(
  server: TestServer,
  group = 'presence',
): Promise<void> {
  await eventually(async () => {
    const { redis } = server;
    const length = await redis.xlen(`rx:{${group}}:events`);
    const retrying = await redis.zcard(`rx:{${group}}:retry`);
    const inGrace = await redis.zcard(`rx:{${group}}:grace`);
    if (length + retrying + inGrace > 0)
      throw new Error(
        `${length} events and ${retrying} retries are left, and ${inGrace} wait`,
      );
  });
}
