import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, type Type } from '@nestjs/common';
import type { Redis } from 'ioredis';
import {
  type KeyExpiringEvent,
  OnKeyExpiring,
  type OnKeyExpiringOptions,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { type TestApp, createApp } from './app.js';
import { type Collector, collect } from './collect.js';
import type { TestServer } from './servers.js';

/** A provider with one method that is warned of keys. */
export function warned(
  pattern: string,
  options: OnKeyExpiringOptions,
  work: (event: KeyExpiringEvent) => unknown,
): Type {
  @Injectable()
  class Warned {
    warn(event: KeyExpiringEvent): unknown {
      return work(event);
    }
  }
  const { prototype } = Warned;
  OnKeyExpiring(pattern, options)(
    prototype,
    'warn',
    Object.getOwnPropertyDescriptor(prototype, 'warn')!,
  );
  return Warned;
}

/** An application that is warned of keys `s:*`, and all warnings that it was given. */
export interface WarnedApp extends TestApp {
  readonly warnings: Collector<KeyExpiringEvent>;
}

export async function warnedApp(
  server: Pick<TestServer, 'url'>,
  before: number,
  options: RedisExpiryModuleOptions = {},
  work: (event: KeyExpiringEvent) => unknown = () => undefined,
): Promise<WarnedApp> {
  const warnings = collect<KeyExpiringEvent>();
  const app = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        ...{ connection: server.url, shutdownTimeout: 3_000, ...options },
      }),
    ],
    providers: [
      warned('s:*', { before }, (event) => {
        warnings.add(event);
        return work(event);
      }),
    ],
  });
  await app.subscriber.ready();
  return Object.assign(app, { warnings });
}

/** The time by Redis's clock, in epoch ms. */
export async function now(redis: Redis): Promise<number> {
  const [seconds, micros] = (await redis.time()).map(Number);
  return seconds! * 1_000 + Math.floor(micros! / 1_000);
}

/** Writes a key that runs out so many ms from now. Resolves with its deadline. */
export async function live(
  redis: Redis,
  key: string,
  ttl: number,
): Promise<number> {
  const deadline = (await now(redis)) + ttl;
  await redis.set(key, '1', 'PXAT', deadline);
  return deadline;
}

/** Resolves when a key is gone, and whatever it had to do with warnings should have been told. */
export async function over(redis: Redis, deadline: number): Promise<void> {
  await delay(deadline - (await now(redis)) + 100);
}
