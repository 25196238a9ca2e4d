/** A device sends two heartbeats and falls silent: its key expires, and a method runs. */
import { setTimeout as delay } from 'node:timers/promises';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import { OnKeyExpired, RedisExpiryModule } from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';

class Presence {
  @OnKeyExpired('device:*')
  wentOffline({ captures: [id], lateness }: KeyExpiredEvent) {
    console.log(`device ${id} went offline, noticed ${lateness} ms later`);
  }
}

@Module({
  imports: [RedisExpiryModule.forRoot({ connection: url })],
  providers: [Presence],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule);
app.enableShutdownHooks([], { useProcessExit: true });

const redis = new Redis(url);
for (const heartbeat of [1, 2]) {
  await redis.set('device:42', `heartbeat ${heartbeat}`, 'PX', 1_000);
  await delay(500);
}
await redis.quit();
