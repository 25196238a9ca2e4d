/**
 * An instance of the application under soak, in a process of its own: handlers of a group that are
 * quick, slow, fail at first or always, one of broadcast that hears everything, and subscriptions
 * that come and go. It tells over IPC what its handlers do, and measures itself when asked.
 *
 * argv[2] is JSON: `InstanceOptions` of instance.ts.
 */
import 'reflect-metadata';
import { setTimeout as delay } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';

const { connection, slowMs } = JSON.parse(process.argv[2] ?? '');

/** @typedef {import('../../../lib/index.js').KeyExpiredEvent} KeyExpiredEvent */

/** Ms between two reports of what handlers did. */
const REPORT_MS = 200;

/** @type {object[]} */
let done = [];
let runs = 0;

/** @param {object} message */
const say = (message) => process.send?.(message);
function report() {
  if (done.length > 0) say({ done });
  done = [];
}
setInterval(report, REPORT_MS);

/**
 * @param {KeyExpiredEvent} event
 * @param {() => unknown} work
 */
async function recorded({ key, id, attempt, source, deadline }, work) {
  const run = `${process.pid}:${++runs}`;
  const began = {
    ...{ key, id, attempt, source, process: process.pid, at: Date.now() },
    ...(deadline && { deadline: deadline.getTime() }),
  };
  done.push({ run, began });
  await work();
  done.push({ run, ended: true });
}

class Handlers {
  /** @param {KeyExpiredEvent} event */
  quick(event) {
    return recorded(event, () => undefined);
  }

  /** @param {KeyExpiredEvent} event */
  slow(event) {
    return recorded(event, () => delay(slowMs));
  }

  /** @param {KeyExpiredEvent} event */
  failing(event) {
    return recorded(event, () => {
      if (event.attempt < 3) throw new Error(`try ${event.attempt} fails`);
    });
  }

  /** @param {KeyExpiredEvent} event */
  hopeless(event) {
    return recorded(event, () => {
      throw new Error('every try fails');
    });
  }

  /** @param {KeyExpiredEvent} event */
  heard({ key }) {
    done.push({ heard: key });
  }
}

/** @type {[pattern: string, method: string, options?: object][]} */
const handlers = [
  ['beat:*', 'quick'],
  ['fresh:*', 'quick'],
  ['doomed:*', 'quick'],
  ['slow:*', 'slow'],
  ['fail:*', 'failing', { retry: { attempts: 10 } }],
  ['dead:*', 'hopeless', { retry: { attempts: 2, backoff: 200 } }],
  ['[bfds]*', 'heard', { group: false }],
];
for (const [pattern, method, options] of handlers) {
  const property = Object.getOwnPropertyDescriptor(Handlers.prototype, method);
  Reflect.decorate(
    [OnKeyExpired(pattern, options)],
    Handlers.prototype,
    method,
    property,
  );
}

class Root {
  closed() {}
}

const app = await NestFactory.createApplicationContext(
  {
    module: Root,
    imports: [
      RedisExpiryModule.forRoot({
        ...{ connection, group: 'soak', leaseDuration: 10_000 },
        name: `soak-${process.pid}`,
      }),
    ],
    providers: [Handlers],
  },
  {
    abortOnError: false,
    // Only what is no failing try of a handler is of interest.
    logger: {
      log: () => undefined,
      warn: (/** @type {string} */ text) => say({ log: `warn ${text}` }),
      error: (/** @type {string} */ text) => {
        if (!/fails/.test(text)) say({ log: `error ${text}` });
      },
    },
  },
);
const subscriber = app.get(RedisExpirySubscriber, { strict: false });

/** Ms from one round of subscriptions to the next; how many observe the same pattern in each. */
const ROUND_MS = 500;
const OBSERVERS = 40;

/** Subscriptions that begin and end; each is refused while the server is away. */
async function comeAndGo() {
  const nothing = () => undefined;
  const observers = Array.from({ length: OBSERVERS }, () =>
    subscriber
      .expirations('fresh:*')
      .subscribe({ next: nothing, error: nothing }),
  );
  await delay(20);
  for (const observer of observers) observer.unsubscribe();
  const heard = await subscriber.subscribe('beat:*', nothing, { group: false });
  await heard.unsubscribe();
  const handled = await subscriber.subscribe('fresh:1*', nothing);
  await handled.unsubscribe();
}

let rounds = 0;
let closing = false;
async function comeAndGoForEver() {
  while (!closing) {
    const pause = delay(ROUND_MS);
    try {
      await comeAndGo();
      rounds++;
    } catch {
      // The server is away.
    }
    await pause;
  }
}

async function discardDeadLetters() {
  for (const { id, key } of await subscriber.deadLetters('soak', {
    count: 1_000,
  }))
    if (await subscriber.discard(id)) done.push({ dead: key });
}

process.on('message', (/** @type {string} */ message) => {
  if (message === 'measure') {
    // Whoever is answered knows of all that ended before.
    report();
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    say({ measure: { heapUsed, rss, rounds, status: subscriber.status() } });
  } else if (message === 'discard') {
    discardDeadLetters().catch(() => undefined);
  } else if (message === 'close') {
    closing = true;
    void app.close().then(() => process.exit(0));
  }
});
// Whoever asked is gone.
process.on('disconnect', () => process.exit(1));
void comeAndGoForEver();
say({ running: true });
