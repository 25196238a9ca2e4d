/** Several instances that share the work, one of which is killed now and then. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Witness } from './witness.mjs';

/** @typedef {import('node:child_process').ChildProcess} ChildProcess */

const KILL_EVERY = 12_000;
const PAGE = 'presence:page';
const worker = new URL('worker.mjs', import.meta.url);

/** @type {Map<string, ChildProcess>} by name: #1, #2 and so on */
const instances = new Map();
/** @type {Set<string>} those that are up */
const running = new Set();
const witness = new Witness();
let stopping = false;

/**
 * @param {number} count
 * @param {string} redisUrl
 */
export async function runInstances(count, redisUrl) {
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.on(signal, () => void stop(0));
  const redis = await watch(redisUrl);
  // The one with the page comes last: a group's first instance watches the deadlines, and is to be
  // killed too.
  const others = Array.from({ length: count - 1 }, (_, i) => `#${i + 2}`);
  await Promise.all(others.map(start));
  await start('#1');
  for (let i = 0; ; i++) {
    await sleep(KILL_EVERY);
    const name = others[i % others.length] ?? '';
    await kill(name);
    await say(redis, `${name} was killed`);
    await start(name);
    await say(redis, `${name} was replaced`);
  }
}

/** @param {string} name */
async function start(name) {
  if (stopping) return;
  const child = fork(worker, { env: { ...process.env, INSTANCE: name } });
  instances.set(name, child);
  child.once('exit', (code, signal) => {
    instances.delete(name);
    running.delete(name);
    if (stopping || signal === 'SIGKILL') return;
    console.error(`${name} ended with ${signal ?? `code ${code}`}`);
    void stop(1);
  });
  child.once('message', () => running.add(name));
  // Whichever comes first: what ends early ends everything.
  await Promise.race([once(child, 'message'), once(child, 'exit')]);
}

/** @param {string} name */
async function kill(name) {
  const child = instances.get(name);
  if (stopping || !child) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** @param {number} code */
async function stop(code) {
  if (stopping) return;
  stopping = true;
  const ended = [...instances.values()].map((child) => once(child, 'exit'));
  for (const child of instances.values()) child.kill('SIGTERM');
  console.log(witness.line);
  await Promise.all(ended);
  process.exit(code);
}

/**
 * Counts what happens, and tells the console and the page.
 *
 * @param {string} redisUrl
 */
async function watch(redisUrl) {
  const redis = new Redis(redisUrl).on('error', () => {});
  const listener = redis.duplicate().on('error', () => {});
  listener.on('message', (_channel, event) => {
    const { type, data } = JSON.parse(event);
    if (type === 'device') witness.take(data);
  });
  await listener.subscribe(PAGE);
  let told = witness.line;
  setInterval(() => {
    if (witness.line !== told) console.log((told = witness.line));
  }, 5_000);
  setInterval(() => {
    const { counts, handledBy } = witness;
    void tell(redis, 'tally', { counts, handledBy, running: [...running] });
  }, 500);
  return redis;
}

/**
 * @param {Redis} redis
 * @param {string} what
 */
function say(redis, what) {
  console.log(what);
  return tell(redis, 'notice', { what });
}

/**
 * @param {Redis} redis
 * @param {string} type
 * @param {object} data
 */
async function tell(redis, type, data) {
  const event = JSON.stringify({ type, data });
  await redis.publish(PAGE, event).catch(() => {});
}
