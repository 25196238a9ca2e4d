import type { Type } from '@nestjs/common';
import {
  type KeyExpiredEvent,
  type OnKeyExpiredOptions,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../lib/index.js';
import { type TestApp, createApp } from './app.js';
import { type Collector, collect } from './collect.js';
import { handler } from './group/app.js';
import { expect } from 'vitest';
import { eventually } from './eventually.js';
import type { TestServer } from './servers.js';

/** Ms before the deadline at which values are read: more than a busy machine may be late. */
export const LEAD = 300;
/** Ms that keys live: they are known before that. */
export const TTL = 700;

/** The modes, each as options of the module. */
export const MODES = [
  ['broadcast', {}],
  ['a group', { group: 'presence' }],
] as const;

/** What an event says of the value. */
export const shown = ({ value, valueText }: KeyExpiredEvent) => ({
  ...(value !== undefined && { value }),
  ...(valueText !== undefined && { valueText }),
});

export interface ValueApp extends TestApp {
  readonly events: Collector<KeyExpiredEvent>;
}

/** Resolves once the application has tried whether it may read values; from then on its commands are counted. */
async function probed(server: TestServer): Promise<void> {
  await eventually(async () => expect(await reads(server)).toBeGreaterThan(0));
  await server.redis.config('RESETSTAT');
}

/** How often commands were called that read values. */
export async function reads(server: TestServer): Promise<number> {
  const calls = await server.commandCalls();
  return (calls['getrange'] ?? 0) + (calls['hgetall'] ?? 0);
}

/** An application that listens, with one handler of all keys that are not the group's own, or with others. */
export async function valueApp(
  server: TestServer,
  module: RedisExpiryModuleOptions,
  options: OnKeyExpiredOptions = { value: 'text' },
  others: (events: Collector<KeyExpiredEvent>) => Type[] = () => [],
): Promise<ValueApp> {
  const events = collect<KeyExpiredEvent>();
  const app = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: server.url,
        shutdownTimeout: 3_000,
        values: { lead: LEAD },
        ...module,
      }),
    ],
    providers: [handler('k*', events.add, options), ...others(events)],
  });
  await app.subscriber.ready();
  if (options.value && !module.connection) await probed(server);
  return Object.assign(app, { events });
}
