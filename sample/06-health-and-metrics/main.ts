/** An HTTP application that tells how expiries go: /health by Terminus, /metrics for Prometheus. */
import { setTimeout as delay } from 'node:timers/promises';
import { Controller, Get, Header, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  HealthCheck,
  HealthCheckService,
  TerminusModule,
} from '@nestjs/terminus';
import { Redis } from 'ioredis';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import { RedisExpiryHealthIndicator } from 'nestjs-redis-expiry/terminus';
import { Gauge, Registry } from 'prom-client';

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';

@Controller()
class OperationsController {
  private readonly registry = new Registry();

  constructor(
    private readonly checks: HealthCheckService,
    private readonly expiries: RedisExpiryHealthIndicator,
    private readonly subscriber: RedisExpirySubscriber,
  ) {
    this.gauge('handled', () => this.subscriber.status().counters.handled);
    this.gauge('gaps', () => this.subscriber.status().gaps.count);
    this.gauge('lateness_p99_ms', () => this.subscriber.status().lateness.p99);
  }

  @Get('health')
  @HealthCheck()
  health() {
    const limits = { maxGap: 10_000, maxLateness: 10_000 };
    return this.checks.check([
      () => this.expiries.isHealthy('redis-expiry', limits),
    ]);
  }

  @Get('metrics')
  @Header('Content-Type', 'text/plain')
  metrics(): Promise<string> {
    return this.registry.metrics();
  }

  private gauge(name: string, read: () => number | undefined): void {
    new Gauge({
      name: `redis_expiry_${name}`,
      help: `See status() of nestjs-redis-expiry: ${name}`,
      registers: [this.registry],
      collect() {
        this.set(read() ?? 0);
      },
    });
  }
}

class Presence {
  @OnKeyExpired('device:*')
  wentOffline(): void {}
}

@Module({
  imports: [TerminusModule, RedisExpiryModule.forRoot({ connection: url })],
  controllers: [OperationsController],
  providers: [Presence, RedisExpiryHealthIndicator],
})
class AppModule {}

const app = await NestFactory.create(AppModule);
app.enableShutdownHooks([], { useProcessExit: true });
await app.listen(process.env['PORT'] ?? 0, '127.0.0.1');
const home = await app.getUrl();

const redis = new Redis(url);
await redis.set('device:42', 'here', 'PX', 300);
await redis.quit();
await delay(600);

for (const path of ['health', 'metrics']) {
  const response = await fetch(`${home}/${path}`);
  console.log(`GET ${home}/${path}: ${response.status}`);
  if (path === 'metrics') console.log(await response.text());
}
