import { setTimeout as delay } from 'node:timers/promises';
import { isReplyError } from '../connection/server-error.js';
import { connect } from './connecting.js';
import type { CheckContext, DoctorNode } from './context.js';

/** Ms for which events are counted. */
const SAMPLE_MS = 1_000;

/** How many events a second a server announces of keys that match, by their names; undefined where that may not be heard. */
export async function eventRate(
  { url }: DoctorNode,
  { database, patterns }: CheckContext,
): Promise<ReadonlyMap<string, number> | undefined> {
  const counts = new Map<string, number>();
  const redis = await connect(url);
  redis.on('pmessage', (_pattern: string, _channel: string, event: string) =>
    counts.set(event, (counts.get(event) ?? 0) + 1),
  );
  try {
    await redis.psubscribe(
      ...patterns.map((pattern) => `__keyspace@${database}__:${pattern}`),
    );
    const began = performance.now();
    await delay(SAMPLE_MS);
    const seconds = (performance.now() - began) / 1_000;
    for (const [event, count] of counts)
      counts.set(event, Math.round(count / seconds));
    return counts;
  } catch (error) {
    if (isReplyError(error)) return undefined;
    throw error;
  } finally {
    redis.disconnect();
  }
}
