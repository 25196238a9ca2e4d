import 'reflect-metadata';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { strict as assert } from 'node:assert';
import type { AddressInfo, Server } from 'node:net';
import type { Observable } from 'rxjs';
import {
  type ExpirySubscription,
  type KeyExpiredEvent,
  RedisExpiryError,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  type RedisExpiryStatus,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import {
  AppModule,
  Journal,
  redisUrl,
  SessionsController,
  setups,
  Store,
} from './app.module.js';
import { appliesEnhancers } from './enhancers.js';

async function main(): Promise<void> {
  for (const [name, setup] of Object.entries(setups)) await run(name, setup());
  await appliesEnhancers();
  await refusesBadOptions();
  // The process must end by itself from here on.
  console.log('DONE');
}

async function run(setup: string, expiry: DynamicModule): Promise<void> {
  const pass = (what: string) => console.log(`PASS ${setup}: ${what}`);
  SessionsController.made.length = 0;
  const app = await NestFactory.create(AppModule.with(expiry));
  await app.listen(0, '127.0.0.1');
  const journal = app.get(Journal, { strict: false });
  const store = app.get(Store, { strict: false });

  assert.deepEqual(journal.lines, ['feature bootstrapped', 'app bootstrapped']);
  pass('no handler ran before the last onApplicationBootstrap');

  await store.expire('device:42');
  await journal.waitFor('device 42 by notification, try 1');
  pass('a provider’s handler got the event');

  await store.expire('session:a');
  await store.expire('session:b');
  await journal.waitFor('session:a with its request');
  await journal.waitFor('session:b with its request');
  assert.equal(SessionsController.made.length, 2);
  const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/sessions`, {
    headers: { connection: 'close' },
  });
  assert.equal(await response.text(), 'sessions');
  assert.equal(SessionsController.made.length, 3);
  pass('a request-scoped controller is made for each event and each request');

  const subscriber = app.get(RedisExpirySubscriber, { strict: false });
  await subscribes(subscriber, store);
  pass('the subscriber subscribes, streams, unsubscribes and reports');

  await store.expire('slow:1');
  await journal.waitFor('slow:1 began');
  journal.lines.length = 0;
  await app.close();
  assert.deepEqual(journal.lines.slice(0, 1), ['slow:1 ended']);
  assert.deepEqual(journal.lines.slice(1).sort(), [
    'app destroyed',
    'feature destroyed',
  ]);
  pass('the handler in flight ended before any onModuleDestroy');
}

async function subscribes(
  subscriber: RedisExpirySubscriber,
  store: Store,
): Promise<void> {
  const orders: Observable<KeyExpiredEvent> = subscriber.expirations('order:*');
  const streamed: string[] = [];
  const stream = orders.subscribe(({ key }) => streamed.push(key));
  const called: string[] = [];
  const subscription: ExpirySubscription = await subscriber.subscribe(
    'order:*',
    ({ captures }) => called.push(...captures),
  );
  await subscriber.ready();
  const before: RedisExpiryStatus = subscriber.status();
  assert.deepEqual(
    before.nodes.map(({ state }) => state),
    ['listening'],
  );
  await store.expire('order:7');
  for (const end = Date.now() + 10_000; streamed.length + called.length < 2;) {
    assert(Date.now() < end, `streamed ${streamed}, called ${called}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual([streamed, called], [['order:7'], ['7']]);
  stream.unsubscribe();
  await subscription.unsubscribe();
  assert.equal(subscriber.status().counters.failed, 0);
}

/** `instanceof` also tells that the error and the module come from one copy of the package. */
async function refusesBadOptions(): Promise<void> {
  const options: RedisExpiryModuleOptions = {
    connection: redisUrl,
    concurrency: 0,
  };
  await assert.rejects(
    NestFactory.createApplicationContext(RedisExpiryModule.forRoot(options), {
      abortOnError: false,
      logger: false,
    }),
    (error) =>
      error instanceof RedisExpiryError &&
      error.code === 'INVALID_OPTION_CONCURRENCY',
  );
  console.log('PASS a bad option rejects with a RedisExpiryError');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
