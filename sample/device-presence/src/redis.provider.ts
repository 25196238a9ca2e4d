import type { FactoryProvider } from '@nestjs/common';
import { Redis } from 'ioredis';

/** The client that writes heartbeats. RedisExpiryModule listens on connections of its own. */
export const redisProvider: FactoryProvider<Redis> = {
  provide: Redis,
  useFactory: () =>
    new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379').on(
      'error',
      () => {
        // It reconnects by itself, and a heartbeat that could not be written is logged.
      },
    ),
};
