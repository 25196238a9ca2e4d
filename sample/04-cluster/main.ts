/** A group on a Cluster of three primaries: each primary announces the expiries of its own keys only. */
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Cluster } from 'ioredis';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

/** The nodes of the Cluster that `npm run sample 04-cluster` starts, or of yours. */
const nodes = (process.env['REDIS_NODES'] ?? '127.0.0.1:7000')
  .split(',')
  .map((node) => node.split(':'))
  .map(([host = '', port]) => ({ host, port: Number(port) }));

class Leases {
  @OnKeyExpired('lease:*')
  ended({ captures: [name], lateness }: KeyExpiredEvent) {
    console.log(`lease ${name} has run out, noticed ${lateness} ms later`);
  }
}

@Module({
  imports: [
    RedisExpiryModule.forRoot({
      connection: { nodes },
      group: 'leases',
    }),
  ],
  providers: [Leases],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule);
app.enableShutdownHooks([], { useProcessExit: true });

const subscriber = app.get(RedisExpirySubscriber);
await subscriber.ready();
const listening = subscriber.status().groups.flatMap((group) => group.nodes);
for (const { address, state } of listening)
  console.log(`${address} is ${state}`);

// Keys that lie on all three primaries.
const cluster = new Cluster(nodes);
for (let i = 1; i <= 9; i++)
  await cluster.set(`lease:${i}`, 'held', 'PX', 500 + i * 100);
await cluster.quit();
