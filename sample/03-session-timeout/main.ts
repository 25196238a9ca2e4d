/** A session ends when no request came for a second, and the handler gets what it held. */
import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import { OnKeyExpired, RedisExpiryModule } from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
const IDLE_MS = 1_000;

interface Session {
  readonly pages: readonly string[];
}

@Injectable()
class Sessions {
  constructor(@Inject(Redis) private readonly redis: Redis) {}

  /** A request of a user: the session lives on, and remembers the page. */
  async request(user: string, page: string): Promise<void> {
    const key = `session:${user}`;
    const text = (await this.redis.get(key)) ?? '{"pages":[]}';
    const { pages } = JSON.parse(text) as Session;
    const session: Session = { pages: [...pages, page] };
    await this.redis.set(key, JSON.stringify(session), 'PX', IDLE_MS);
  }

  /** The user leaves: a key that is deleted does not expire, so no handler runs. */
  async logOut(user: string): Promise<void> {
    await this.redis.del(`session:${user}`);
    console.log(`${user} has logged out`);
  }

  @OnKeyExpired('session:*', { value: 'json' })
  timedOut({
    captures: [user = ''],
    deadline,
    value,
  }: KeyExpiredEvent<Session>): void {
    // Nobody read it in time where the session ended while nothing ran.
    const pages = value?.pages.join(', ') ?? 'who knows what';
    console.log(
      `the session of ${user} timed out at ${deadline?.toISOString()} after ${pages}`,
    );
  }

  onApplicationShutdown(): void {
    this.redis.disconnect();
  }
}

@Module({
  imports: [
    RedisExpiryModule.forRoot({
      connection: url,
      // With a group, sessions that time out while nothing runs are handled at the next start.
      group: 'sessions',
      // A busy machine may be late: the value is read so many ms before the end.
      values: { lead: 300 },
    }),
  ],
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
