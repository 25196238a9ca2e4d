import { Controller, Get, Header } from '@nestjs/common';
import { RedisExpirySubscriber } from 'nestjs-redis-expiry';
import { Registry } from 'prom-client';
import { exposeExpiry } from './metrics.js';

/** What Prometheus scrapes; grafana-dashboard.json shows it. */
@Controller('metrics')
export class MetricsController {
  private readonly registry = new Registry();

  constructor(subscriber: RedisExpirySubscriber) {
    exposeExpiry(this.registry, subscriber);
  }

  @Get()
  @Header('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
  metrics(): Promise<string> {
    return this.registry.metrics();
  }
}
