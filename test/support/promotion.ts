import { setTimeout as delay } from 'node:timers/promises';
import { PATIENCE_MS } from './patience.js';
import type { TestServer } from './servers.js';

/** That a replica became the primary. Times are epoch ms, of the clock that the servers have, too. */
export interface Promotion {
  readonly server: TestServer;
  /** When it was first seen as the primary. */
  readonly at: number;
  /** When it last said that it still is a replica: it was promoted between this and `at`. */
  readonly notBefore: number;
}

/** Asks each candidate every 10 ms whether it is the primary, and resolves with the first that is. */
export async function firstPromoted(
  candidates: readonly TestServer[],
  timeout = PATIENCE_MS,
): Promise<Promotion> {
  if (candidates.length === 0)
    throw new Error('There is no replica that could be promoted.');
  const ending = new AbortController();
  const end = AbortSignal.any([ending.signal, AbortSignal.timeout(timeout)]);
  try {
    return await Promise.any(candidates.map((each) => promoted(each, end)));
  } catch (error) {
    const names = candidates.map(({ address }) => address).join(', ');
    throw new Error(`None was promoted in ${timeout} ms: ${names}`, {
      cause: error,
    });
  } finally {
    ending.abort();
  }
}

async function promoted(
  server: TestServer,
  end: AbortSignal,
): Promise<Promotion> {
  let notBefore = Date.now();
  for (;;) {
    const asked = Date.now();
    // It may crash meanwhile, and come back.
    const [role] = (await server.redis.role().catch(() => [])) as unknown[];
    if (role === 'master') return { server, at: Date.now(), notBefore };
    if (role === 'slave') notBefore = asked;
    await delay(10, undefined, { signal: end });
  }
}

/** Resolves when the replicas have all that the primary had when it was called. */
export async function replicated(
  primary: TestServer,
  replicas: readonly TestServer[],
  timeout = PATIENCE_MS,
): Promise<void> {
  const offset = await offsetOf(primary, 'master_repl_offset');
  const deadline = Date.now() + timeout;
  for (const replica of replicas) {
    while ((await offsetOf(replica, 'slave_repl_offset')) < offset) {
      if (Date.now() > deadline)
        throw new Error(`${replica.address} stays behind ${primary.address}.`);
      await delay(2);
    }
  }
}

/** -1 where there is none: a primary follows nobody. */
async function offsetOf(server: TestServer, field: string): Promise<number> {
  const info = await server.redis.info('replication');
  return Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1] ?? -1);
}
