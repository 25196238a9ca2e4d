import { execFileSync } from 'node:child_process';
import type { TestServer } from '../servers.js';
import type { Members } from './members.js';
import type { SlotRange } from './slots.js';
import { owns } from './view.js';

/** How a server moves slots as one: who is told. */
type Told = 'source' | 'target';

/** Undefined where the server program cannot move slots but key by key. */
export function atomicMigration(path: string): Told | undefined {
  const text = execFileSync(path, ['--version'], { encoding: 'utf8' });
  const [, name, ...numbers] = /^(\w+) server v=(\d+)\.(\d+)/.exec(text) ?? [];
  const [major = 0, minor = 0] = numbers.map(Number);
  if (name === 'Valkey') return major >= 9 ? 'source' : undefined;
  return major > 8 || (major === 8 && minor >= 4) ? 'target' : undefined;
}

/**
 * Slots that belong to one primary become another's as one, with their keys. The servers do it by
 * themselves; it takes some microseconds for each of the source's keys, if they are given.
 */
export async function migrateSlots(
  members: Members,
  [first, last]: SlotRange,
  to: TestServer,
  perKey = 0,
): Promise<void> {
  const from = await members.ownerOf(first);
  const id = members.idOf(to);
  // It holds up the process that writes the snapshot, and nothing else.
  await from.redis.config('SET', 'rdb-key-save-delay', `${perKey}`);
  try {
    if (atomicMigration(from.process.path) === 'target')
      await to.redis.call('CLUSTER', 'MIGRATION', 'IMPORT', first, last);
    else
      await from.redis.call(
        ...(['CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE'] as const),
        ...([first, last, 'NODE', id] as const),
      );
    await members.agree((view) => owns(view, id, [first, last]));
  } finally {
    await from.redis.config('SET', 'rdb-key-save-delay', '0');
  }
}
