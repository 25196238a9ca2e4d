import type { Commands } from '../connection/commands.js';
import { clockOf } from './partition-ages.js';

/** After the last note of an instance that died, its handlers count as gone. */
export const LIFETIME_MS = 15_000;

/** An instance of a group, as the group remembers it. */
export interface KnownInstance {
  /** Host, process and a mark of its own. */
  readonly name: string;
  /** `left`: it stopped. `dead`: it did not, and has noted nothing for 15 s. */
  readonly state: 'living' | 'dead' | 'left';
  /** Ms since it noted something. */
  readonly seenAgo: number;
}

/**
 * The instances that a group remembers, the newest first. Rejects as the commands do.
 *
 * @param key where they are noted: see NOTE-HANDLERS
 */
export async function readInstances(
  commands: Commands,
  key: string,
): Promise<KnownInstance[]> {
  const [time, entries] = await commands.run((redis) =>
    Promise.all([redis.time(), redis.zrange(key, '0', '-1', 'WITHSCORES')]),
  );
  const now = clockOf(time);
  const known: KnownInstance[] = [];
  for (let i = 0; i + 1 < entries.length; i += 2) {
    const [, left, name] = /^(-?)\d+ (.*)$/s.exec(entries[i]!) ?? [];
    const seenAgo = Math.max(0, now - Number(entries[i + 1]));
    if (name === undefined) continue;
    const isLiving = seenAgo < LIFETIME_MS;
    const state = left === '-' ? 'left' : isLiving ? 'living' : 'dead';
    known.push({ name, state, seenAgo });
  }
  return known.toSorted((a, b) => a.seenAgo - b.seenAgo);
}
