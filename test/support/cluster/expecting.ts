import type { Cluster } from 'ioredis';
import { expect } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import type { Collector } from '../collect.js';

/** Lets keys run out, and expects each of them, once, wherever events are collected. */
export async function expectEach(
  redis: Cluster,
  keys: readonly string[],
  collectors: readonly Collector<KeyExpiredEvent>[],
): Promise<void> {
  for (const key of keys) await redis.set(key, '1', 'PX', 300);
  for (const events of collectors) {
    const received = await events.next(keys.length);
    const names = received.map(({ key }) => key);
    expect(names.toSorted()).toEqual([...keys].toSorted());
  }
}
