/**
 * A Nest application in a process of its own, so that a test can see that the process ends by
 * itself. It says on stdout, one JSON object a line, what happens; it closes on SIGUSR2.
 *
 * argv[2] is JSON: `ChildAppOptions` of child-app.ts.
 */
import 'reflect-metadata';
import { createHook } from 'node:async_hooks';
import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';

const {
  module: options,
  workMs,
  shutdownHooks,
  closeTwice,
} = JSON.parse(process.argv[2] ?? '');

/** @param {string} event @param {object} [more] */
function say(event, more) {
  // Synchronous: an exit right after loses nothing.
  writeSync(1, `${JSON.stringify({ event, at: Date.now(), ...more })}\n`);
}

/** @typedef {NodeJS.Timeout & { _idleTimeout: number, _destroyed: boolean }} Timer */

/** @type {Map<number, Timer>} */
const timers = new Map();
createHook({
  init(id, type, _, timer) {
    if (type === 'Timeout') timers.set(id, /** @type {Timer} */ (timer));
  },
  destroy: (id) => void timers.delete(id),
}).enable();

/** The ms for which each timer was set that keeps the process alive. */
const timersLeft = () =>
  [...timers.values()]
    .filter((timer) => timer.hasRef() && !timer._destroyed)
    .map((timer) => timer._idleTimeout);

class Handlers {
  /** @param {{ key: string }} event */
  async onExpired({ key }) {
    say('started', { key });
    if (workMs > 0) await delay(workMs);
    say('handled', { key });
  }
}
Reflect.decorate(
  [OnKeyExpired('*')],
  Handlers.prototype,
  'onExpired',
  Object.getOwnPropertyDescriptor(Handlers.prototype, 'onExpired'),
);

class Root {
  onApplicationShutdown() {
    say('shutdown');
  }
}

/** @type {import('@nestjs/common').DynamicModule} */
const appModule = {
  module: Root,
  imports: [RedisExpiryModule.forRoot({ punctual: false, ...options })],
  providers: [Handlers],
};

/** @param {string} level */
const taker = (level) => (/** @type {unknown} */ text) =>
  say('log', { level, text: String(text) });
const logger = {
  log: taker('log'),
  warn: taker('warn'),
  error: taker('error'),
  debug: taker('debug'),
};

/** @param {import('@nestjs/common').INestApplicationContext} app */
async function close(app) {
  await Promise.all(closeTwice ? [app.close(), app.close()] : [app.close()]);
  if (closeTwice) await app.close();
  say('closed', { timers: timersLeft() });
}

/** @param {import('@nestjs/common').INestApplicationContext} app */
async function run(app) {
  // Neither this nor Nest's own signal handlers keep the process alive.
  process.on('SIGUSR2', () => void close(app));
  if (shutdownHooks) app.enableShutdownHooks();
  say('running');
  const subscriber = app.get(RedisExpirySubscriber, { strict: false });
  let told = 0;
  setInterval(() => {
    const { received } = subscriber.status().counters;
    for (; told < received; told++) say('received');
  }, 5).unref();
}

try {
  await run(
    await NestFactory.createApplicationContext(appModule, {
      logger,
      abortOnError: false,
    }),
  );
} catch (error) {
  const { code, message, name } = /** @type {Error & { code?: string }} */ (
    error
  );
  say('rejected', { code, message, name, timers: timersLeft() });
}
