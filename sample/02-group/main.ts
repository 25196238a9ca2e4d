/** Two instances share the work; what fails is tried again, becomes a dead letter, and is redriven. */
import { setTimeout as delay } from 'node:timers/promises';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Redis } from 'ioredis';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
const mails = { areSent: false };
const reminded = new Set<string>();

class Reminders {
  constructor(private readonly instance: string) {}

  @OnKeyExpired('cart:*')
  abandoned({ captures: [cart = ''], id, attempt }: KeyExpiredEvent) {
    if (cart === 'late' && !mails.areSent) {
      console.log(`${this.instance}: cart ${cart}, try ${attempt} failed`);
      throw new Error('the mail server does not answer');
    }
    // At least once means now and then twice: the id is the same both times.
    if (!id || reminded.has(id)) return;
    reminded.add(id);
    console.log(`${this.instance}: cart ${cart} was abandoned`);
  }
}

/** As a process of its own would; two of them are in this one so that the sample is one command. */
function start(instance: string): Promise<INestApplicationContext> {
  @Module({
    imports: [
      RedisExpiryModule.forRoot({
        connection: url,
        group: 'shop',
        retry: { attempts: 3, backoff: 200 },
      }),
    ],
    providers: [
      { provide: Reminders, useFactory: () => new Reminders(instance) },
    ],
  })
  class AppModule {}

  // Without a logger, as the errors of the mail server are part of the play.
  return NestFactory.createApplicationContext(AppModule, { logger: false });
}

/** Waits until there is something to see. */
async function until<T>(look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    await delay(50);
  }
}

const instances = await Promise.all([start('instance A'), start('instance B')]);
const subscriber = instances[0].get(RedisExpirySubscriber);
const redis = new Redis(url);

for (const cart of ['1', '2', '3', '4', '5', '6', 'late'])
  await redis.set(`cart:${cart}`, 'three books', 'PX', 500);

const letter = await until(async () => (await subscriber.deadLetters())[0]);
console.log(
  `dead letter: ${letter.key} after ${letter.attempts} tries: ${letter.error}`,
);

mails.areSent = true;
await subscriber.redrive(letter.id);
await until(() => reminded.size === 7);
console.log('every cart was handled once');

await redis.quit();
await Promise.all(instances.map((instance) => instance.close()));
process.exit(); // A Redis that was started for this run ends with it.
