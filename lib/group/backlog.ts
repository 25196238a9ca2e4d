import type { Commands } from '../connection/commands.js';
import type { GroupKeys } from './group-keys.js';

/** How much a group has to do. */
export interface Backlog {
  /** Events that no instance took yet. */
  readonly waiting: number;
  /** Events that some instance works on. */
  readonly pending: number;
  /** Events that wait for their next try. */
  readonly retrying: number;
  /** Events that wait for the `grace` of their handler. */
  readonly inGrace: number;
  /** Dead letters. */
  readonly dead: number;
  /** Dead letters that were deleted, ever, because they were too old or too many: see the option `deadLetters`. */
  readonly deadLettersDropped: number;
  /** Partitions that have a leader: some instance watches their deadlines. */
  readonly leaders: number;
  /** Keys whose deadline is known. */
  readonly tracked: number;
}

const FIGURES = [
  ...(['waiting', 'pending', 'retrying', 'inGrace'] as const),
  ...(['dead', 'deadLettersDropped', 'leaders', 'tracked'] as const),
] satisfies (keyof Backlog)[];

/** The backlogs of several partitions together; empty as long as one of them is not known. */
export function sumOf(backlogs: readonly Partial<Backlog>[]): Partial<Backlog> {
  const sum: { -readonly [K in keyof Backlog]?: number } = {};
  for (const figure of FIGURES) {
    let total = 0;
    for (const backlog of backlogs) total += backlog[figure] ?? NaN;
    if (!Number.isNaN(total)) sum[figure] = total;
  }
  return sum;
}

/** Counts what there is to do in one partition. Rejects as the commands do. */
export async function readBacklog(
  commands: Commands,
  keys: GroupKeys,
  group: string,
): Promise<Backlog> {
  const [length, summary, dead, deleted, token, retrying, inGrace, tracked] =
    await commands.run((redis) =>
      Promise.all([
        redis.xlen(keys.events),
        redis.xpending(keys.events, group),
        redis.xlen(keys.dead),
        redis.get(keys.dropped),
        redis.get(keys.lease),
        redis.zcard(keys.retry),
        redis.zcard(keys.grace),
        redis.zcard(keys.index),
      ]),
    );
  const pending = Number(summary[0]);
  return {
    waiting: Math.max(0, length - pending),
    ...{ pending, retrying, inGrace, dead, tracked },
    deadLettersDropped: Number(deleted ?? 0),
    leaders: token === null ? 0 : 1,
  };
}
