import { type Promotion, firstPromoted } from '../promotion.js';
import type { TestServer } from '../servers.js';
import type { Members } from './members.js';

/** How a replica takes over: with its primary's help, without it, or without anybody's. */
export type FailoverMode = 'FORCE' | 'TAKEOVER';

/** Servers that gave up a manual failover do so after 5 s, and tell nobody. */
const GIVEN_UP = 7_000;

/** Resolves when one of the replicas is the primary now, for all nodes but the old one. */
export async function untilPromoted(
  members: Members,
  old: TestServer,
  replicas: readonly TestServer[],
): Promise<Promotion> {
  const oldId = members.idOf(old);
  const promotion = await firstPromoted(replicas);
  const newId = members.idOf(promotion.server);
  const present = members.live(old).map((server) => members.idOf(server));
  await members.agree(
    (view) =>
      view.get(newId)!.slots.length > 0 &&
      present.every((id) => view.get(id)!.primaryId !== oldId),
    { except: old },
  );
  return promotion;
}

/** CLUSTER FAILOVER, until it happens. */
export async function failover(
  members: Members,
  replica: TestServer,
  mode?: FailoverMode,
): Promise<Promotion> {
  const id = members.idOf(replica);
  const oldId = (await members.view()).get(id)?.primaryId;
  if (oldId === undefined)
    throw new Error(`${replica.address} is not a replica.`);
  const promotion = await commanded(replica, mode);
  const old = members.live().find((server) => members.idOf(server) === oldId);
  await members.agree(
    (view) =>
      view.get(id)!.slots.length > 0 &&
      (old === undefined || view.get(oldId)!.primaryId === id),
  );
  return promotion;
}

async function commanded(
  replica: TestServer,
  mode: FailoverMode | undefined,
): Promise<Promotion> {
  for (let attempt = 1; ; attempt++) {
    const promoted = firstPromoted([replica], GIVEN_UP);
    promoted.catch(() => undefined);
    await replica.redis.call('CLUSTER', 'FAILOVER', ...(mode ? [mode] : []));
    try {
      return await promoted;
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}
