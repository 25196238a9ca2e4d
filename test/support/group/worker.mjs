/**
 * A Nest application of a group in a process of its own, to be killed at any moment. It says on
 * stdout, one JSON object a line, what happens, and before it goes on.
 *
 * argv[2] is JSON: `WorkerOptions` of workers.ts.
 */
import 'reflect-metadata';
import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import {
  OnKeyExpired,
  OnKeyExpiring,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';

const {
  module: options,
  pattern = '*',
  handler = {},
  before,
  work = [0, 0],
  dieBeforeAck = false,
  alwaysDie = false,
  dieOver,
} = JSON.parse(process.argv[2] ?? '');

/** @param {string} event @param {object} [more] */
function say(event, more) {
  const line = Buffer.from(`${JSON.stringify({ event, ...more })}\n`);
  for (let at = 0; at < line.length;) {
    try {
      at += writeSync(1, line, at);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EAGAIN')
        throw error;
    }
  }
}

let runs = 0;

class Handlers {
  /** @param {import('../../../lib/index.js').KeyExpiredEvent} event */
  async onExpired({ key, id, attempt, source, deadline, lateness }) {
    const run = ++runs;
    say('began', {
      run,
      handling: {
        ...{ key, id, attempt, source, lateness, process: process.pid },
        ...(deadline && { deadline: deadline.getTime() - (before ?? 0) }),
        at: Date.now(),
      },
    });
    if (key === dieOver) process.kill(process.pid, 'SIGKILL');
    const [least, most] = work;
    const ms = least + Math.random() * (most - least);
    if (ms > 0) await delay(ms);
    say('ended', { run });
    if (alwaysDie || (dieBeforeAck && attempt === 1))
      process.kill(process.pid, 'SIGKILL');
  }
}
Reflect.decorate(
  [
    before === undefined
      ? OnKeyExpired(pattern, handler)
      : OnKeyExpiring(pattern, { ...handler, before }),
  ],
  Handlers.prototype,
  'onExpired',
  Object.getOwnPropertyDescriptor(Handlers.prototype, 'onExpired'),
);

class Root {
  onApplicationShutdown() {
    say('shutdown');
  }
}

/** @param {string} level */
const taker = (level) => (/** @type {unknown} */ text) =>
  say('log', { level, text: String(text) });

try {
  const app = await NestFactory.createApplicationContext(
    {
      module: Root,
      imports: [RedisExpiryModule.forRoot(options)],
      providers: [Handlers],
    },
    {
      abortOnError: false,
      logger: {
        log: () => undefined,
        warn: taker('warn'),
        error: taker('error'),
        debug: taker('debug'),
      },
    },
  );
  const subscriber = app.get(RedisExpirySubscriber, { strict: false });
  process.once('SIGTERM', () => {
    void app.close().then(() => {
      say('closed');
      process.exit(0);
    });
  });
  process.on('SIGUSR2', () => say('status', { status: subscriber.status() }));
  say('running');
} catch (error) {
  say('rejected', { message: String(error) });
  process.exit(1);
}
