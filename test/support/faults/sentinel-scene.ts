import { once } from 'node:events';
import { Redis } from 'ioredis';
import { type TestContext, onTestFinished } from 'vitest';
import { History } from '../group/history.js';
import { GroupScene } from '../group/scene.js';
import { TrackedKeys } from '../group/tracked-keys.js';
import { type Promotion, firstPromoted } from '../promotion.js';
import type { TestSentinel } from '../sentinel.js';
import type { TestServer } from '../servers.js';
import { bedOf } from './bed.js';
import { Hearing } from './hearing.js';

const connectionTo = ({ sentinels, name }: TestSentinel) => ({
  sentinels,
  name,
});

export interface SentinelHearing {
  readonly history: History;
  readonly hearing: Hearing;
}

export async function hearingBy(
  context: TestContext,
  sentinel: TestSentinel,
): Promise<SentinelHearing> {
  const bed = bedOf(context);
  const history = new History();
  const connection = connectionTo(sentinel);
  return { history, hearing: await Hearing.start(bed, connection, history) };
}

/** A group that asks Sentinels for its server. */
export async function groupBy(
  context: TestContext,
  sentinel: TestSentinel,
): Promise<GroupScene> {
  const bed = bedOf(context);
  const redis = new Redis({
    ...connectionTo(sentinel),
    connectionName: 'test',
    maxRetriesPerRequest: null,
    retryStrategy: () => 20,
    sentinelRetryStrategy: () => 20,
  });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  await once(redis, 'ready');
  return new GroupScene(bed, redis, connectionTo(sentinel));
}

/** Keys that are written on this very server. */
export const keysAt = (server: TestServer, history: History): TrackedKeys =>
  new TrackedKeys(server.redis, history);

/** The first of the others that is the primary: call it before the fault. */
export function promotionOfOther(
  sentinel: TestSentinel,
  old: TestServer,
): Promise<Promotion> {
  const promoted = firstPromoted(sentinel.servers.filter((s) => s !== old));
  promoted.catch(() => undefined);
  return promoted;
}
