/** A session ends when no request came for a second. What it held is kept under a key of its own. */
import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import { OnKeyExpired, RedisExpiryModule } from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
const IDLE_MS = 1_000;

@Injectable()
class Sessions {
  constructor(@Inject(Redis) private readonly redis: Redis) {}

  /** A request of a user: the session lives on, and remembers the page. */
  async request(user: string, page: string): Promise<void> {
    await this.redis
      .multi()
      .set(`session:${user}`, '', 'PX', IDLE_MS)
      .rpush(`visited:${user}`, page)
      .exec();
  }

  /** The user leaves: a key that is deleted does not expire, so no handler runs. */
  async logOut(user: string): Promise<void> {
    await this.redis.del(`session:${user}`, `visited:${user}`);
    console.log(`${user} has logged out`);
  }

  @OnKeyExpired('session:*')
  async timedOut({ captures: [user = ''], deadline }: KeyExpiredEvent) {
    // The value of an expired key is gone; this one has no time to live.
    const pages = await this.redis.lrange(`visited:${user}`, 0, -1);
    await this.redis.del(`visited:${user}`);
    console.log(
      `the session of ${user} timed out at ${deadline?.toISOString()} after ${pages.join(', ')}`,
    );
  }

  onApplicationShutdown(): void {
    this.redis.disconnect();
  }
}

@Module({
  // With a group, sessions that time out while nothing runs are handled at the next start.
  imports: [RedisExpiryModule.forRoot({ connection: url, group: 'sessions' })],
  providers: [Sessions, { provide: Redis, useFactory: () => new Redis(url) }],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule);
app.enableShutdownHooks([], { useProcessExit: true });

const sessions = app.get(Sessions);
await sessions.request('grace', '/');
for (const page of ['/', '/books', '/cart']) {
  await sessions.request('ada', page);
  await delay(300);
}
await sessions.logOut('grace');
