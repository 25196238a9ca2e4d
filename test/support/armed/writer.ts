import {
  RedisExpiryKeys,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { type TestApp, createApp } from '../app.js';

export interface Writer extends TestApp {
  readonly keys: RedisExpiryKeys;
}

/** A process that runs no handlers and writes keys for the group `presence`; closed when the test is over. */
export async function writer(
  options: RedisExpiryModuleOptions,
): Promise<Writer> {
  const app = await createApp({
    imports: [
      RedisExpiryModule.forRoot({
        group: 'presence',
        enabled: false,
        ...options,
      }),
    ],
  });
  return Object.assign(app, { keys: app.app.get(RedisExpiryKeys) });
}
