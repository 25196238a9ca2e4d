import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { CheckContext, DoctorNode } from './context.js';
import { ask } from './context.js';
import { Hearing } from './hearing.js';
import { ownKeys, removeOwn } from './own-keys.js';

/** Keys of each kind. */
const KEYS = 150;
/** Ms until the first of them runs out. */
const TTL_MS = 1_000;
/** Ms between two keys that are touched. */
const STEP_MS = 2;
/** Ms within which a key that was touched is announced, at the latest. */
const PATIENCE_MS = 2_000;

/** Ms after their deadlines when keys were heard of, in order. */
export interface Lateness {
  readonly untouched: readonly number[];
  readonly touched: readonly number[];
  /** Of each kind. */
  readonly keys: number;
}

/**
 * Measures lateness by keys of its own, which have a TTL: half of them are touched when they are due, and
 * the other half is left to Redis.
 */
export async function measure(
  node: DoctorNode,
  context: CheckContext,
): Promise<Lateness | { readonly refused: string }> {
  const place = await ownKeys(node, context);
  if ('refused' in place) return place;
  const names = Array.from({ length: 2 * KEYS }, (_, i) => place.prefix + i);
  const touch = names.slice(KEYS);
  const heardAt = new Map<string, number>();
  const hearing = await Hearing.open(node, context, names, (heard) => {
    if (heard.event === 'expired' && !heardAt.has(heard.key))
      heardAt.set(heard.key, heard.at);
  });
  try {
    const deadlines = await write(node, names);
    if (!deadlines) return { refused: 'SET was refused' };
    await touchWhenDue(node, touch, deadlines);
    const touchedEnd = performance.now() + PATIENCE_MS;
    const count = (of: readonly string[]): number =>
      of.filter((key) => heardAt.has(key)).length;
    while (count(touch) < KEYS && performance.now() < touchedEnd)
      await delay(10);
    if (heardAt.size === 0)
      return { refused: 'nothing was announced: see notifications' };
    const end = deadlines.get(names[0]!)! + context.measureMs;
    while (heardAt.size < names.length && performance.now() < end)
      await delay(20);
    const lateness = (of: readonly string[]): number[] =>
      of
        .flatMap((key) => {
          const at = heardAt.get(key);
          return at === undefined
            ? []
            : [Math.max(0, at - deadlines.get(key)!)];
        })
        .toSorted((a, b) => a - b);
    return {
      untouched: lateness(names.slice(0, KEYS)),
      touched: lateness(touch),
      keys: KEYS,
    };
  } finally {
    hearing.close();
    await removeOwn(node, names);
  }
}

/** When each key is due, by `performance.now()`: at the latest, as the answer took a while. */
async function write(
  { redis }: DoctorNode,
  names: readonly string[],
): Promise<Map<string, number> | undefined> {
  const asked = performance.now();
  const deadlines = new Map<string, number>();
  const replies = await Promise.all(
    names.map((key, i) => {
      const ttl = TTL_MS + (i % KEYS) * STEP_MS;
      const reply = ask(redis.set(key, '', 'PX', ttl));
      return reply.then((answer) => {
        const half = (performance.now() + asked) / 2;
        deadlines.set(key, half + ttl);
        return answer;
      });
    }),
  );
  return replies.includes(undefined) ? undefined : deadlines;
}

async function touchWhenDue(
  { redis }: DoctorNode,
  keys: readonly string[],
  deadlines: ReadonlyMap<string, number>,
): Promise<void> {
  const asked: Promise<unknown>[] = [];
  for (const key of keys) {
    const early = deadlines.get(key)! - performance.now();
    if (early > 0) await delay(Math.ceil(early));
    asked.push(touchUntilGone(redis, key));
  }
  await Promise.all(asked);
}

/** The answers to the writes do not tell the deadline to the millisecond: it may still be there for a moment. */
async function touchUntilGone(
  redis: DoctorNode['redis'],
  key: string,
): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    if (!(await ask(redis.exists(key)))) return;
    await delay(1);
  }
}
