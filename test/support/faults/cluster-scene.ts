import type { Cluster } from 'ioredis';
import { type TestContext, expect } from 'vitest';
import { type TestCluster, slotOf } from '../cluster.js';
import { eventually } from '../eventually.js';
import { History } from '../group/history.js';
import { GroupScene } from '../group/scene.js';
import { TrackedKeys } from '../group/tracked-keys.js';
import { PATIENCE_MS } from '../patience.js';
import type { TestServer } from '../servers.js';
import { bedOf } from './bed.js';
import { Hearing } from './hearing.js';

/** Deadlines are translated from one server's clock to another's, by answers that may be late. */
const TOLERANCE = 100;

export interface HearingScene {
  readonly redis: Cluster;
  readonly keys: TrackedKeys;
  readonly hearing: Hearing;
}

/** An application that hears a Cluster, and a client of the test's own. */
export async function hearingOn(
  context: TestContext,
  cluster: TestCluster,
): Promise<HearingScene> {
  const bed = bedOf(context);
  const redis = await patientClient(cluster);
  const history = new History(TOLERANCE);
  const keys = new TrackedKeys(redis, history);
  const connection = { nodes: cluster.nodes };
  const hearing = await Hearing.start(bed, connection, history);
  return { redis, keys, hearing };
}

/** A group on a Cluster. */
export async function groupOn(
  context: TestContext,
  cluster: TestCluster,
): Promise<GroupScene> {
  const bed = bedOf(context);
  const redis = await patientClient(cluster);
  const connection = { nodes: cluster.nodes };
  const history = new History(TOLERANCE);
  return new GroupScene(bed, redis, connection, history);
}

/** Its commands wait while nobody serves their slot. */
const patientClient = (cluster: TestCluster): Promise<Cluster> =>
  cluster.connect({
    maxRedirections: 500,
    retryDelayOnFailover: 50,
    retryDelayOnClusterDown: 50,
    retryDelayOnTryAgain: 20,
  });

/** Whether a key lives on a primary, as it is now. */
export async function keysOn(
  primary: TestServer,
): Promise<(key: string) => boolean> {
  const ranges = await primary.redis.cluster('SLOTS');
  const own = ranges.filter(([, , node]) => node?.[1] === primary.port);
  return (key) => {
    const slot = slotOf(key);
    return own.some(([from, to]) => from <= slot && slot <= to);
  };
}

/** Resolves when the server has every flag that another has, and some. */
export async function hasFlagsOf(
  server: TestServer,
  other: TestServer,
  timeout = PATIENCE_MS,
): Promise<void> {
  const lettersOf = async (each: TestServer): Promise<string> =>
    Array.from(await each.flags())
      .toSorted()
      .join('');
  const wanted = await lettersOf(other);
  expect(wanted).toMatch(/x/);
  await eventually(async () => expect(await lettersOf(server)).toBe(wanted), {
    timeout,
    interval: 20,
  });
}
