import { mkdir, rm } from 'node:fs/promises';
import { expect } from 'vitest';
import { eventually } from '../eventually.js';
import type { TestServer } from '../servers.js';

/** A server that refuses writes: how that begins, and how it ends. */
export interface Refusal {
  readonly code: string;
  readonly begin: (server: TestServer) => Promise<unknown>;
  readonly end: (server: TestServer) => Promise<unknown>;
}

const set =
  (name: string, value: string) =>
  (server: TestServer): Promise<unknown> =>
    server.redis.config('SET', name, value);

/** A snapshot is taken, and ends well or not. */
async function save(server: TestServer, status: string): Promise<void> {
  await server.redis.bgsave();
  await eventually(async () =>
    expect(await server.redis.info('persistence')).toContain(
      `rdb_last_bgsave_status:${status}`,
    ),
  );
}

export const refusals: Refusal[] = [
  {
    code: 'NOREPLICAS',
    begin: set('min-replicas-to-write', '1'),
    end: set('min-replicas-to-write', '0'),
  },
  { code: 'OOM', begin: set('maxmemory', '1'), end: set('maxmemory', '0') },
  {
    code: 'MISCONF',
    begin: async (server) => {
      await set('save', '3600 1000000')(server);
      await rm(server.process.dir, { recursive: true });
      await save(server, 'err');
    },
    end: async (server) => {
      await mkdir(server.process.dir);
      await set('save', '')(server);
    },
  },
];
