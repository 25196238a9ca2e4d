import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import type {
  DeadlineEntry,
  DeadlineIndex,
} from '../deadlines/deadline-index.js';
import type { RedisClock } from '../deadlines/redis-clock.js';
import { readTime } from '../deadlines/ttl-reader.js';
import type { GroupKeys } from './group-keys.js';

/** Entries that one command or script takes. */
const CHUNK = 1_000;

/**
 * The index that a group shares, as one term of leadership sees it: a sorted set in Redis, which
 * outlives every instance. What is due in it, `Sweep` settles.
 */
export class RedisIndex implements Omit<DeadlineIndex, 'settle'> {
  constructor(
    /** Those of the term. */
    private readonly commands: Commands,
    private readonly keys: GroupKeys,
    /** Keys are enrolled: they were seen alive. */
    private readonly onSeen: (entries: readonly DeadlineEntry[]) => void = () =>
      undefined,
  ) {}

  zsetFor(): string {
    return this.keys.index;
  }

  async enrol(
    entries: readonly DeadlineEntry[],
    isNoted = false,
  ): Promise<void> {
    this.onSeen(entries);
    if (isNoted) return;
    for (let i = 0; i < entries.length; i += CHUNK) {
      const args = entries
        .slice(i, i + CHUNK)
        .flatMap(({ key, at }): (Buffer | number)[] => [at, key]);
      // LT adds what is absent too.
      await this.commands.run((redis) =>
        redis.call('ZADD', this.keys.index, 'LT', ...args),
      );
    }
  }

  async peek(
    now: number,
    limit: number,
  ): Promise<{ due: DeadlineEntry[]; next: number | undefined }> {
    const { index } = this.keys;
    const [due, next] = await this.commands.run((redis) =>
      Promise.all([
        range(redis, index, '-inf', `(${now}`, limit),
        range(redis, index, now, '+inf', 1),
      ]),
    );
    return { due, next: next[0]?.at };
  }

  /** The entries from one moment on and before another, the oldest first, `limit` at most. */
  range(from: number, to: number, limit: number): Promise<DeadlineEntry[]> {
    return this.commands.run((redis) =>
      range(redis, this.keys.index, from, `(${to}`, limit),
    );
  }

  /** When the first entry is due that is not before a moment. */
  async next(from: number): Promise<number | undefined> {
    const [first] = await this.commands.run((redis) =>
      range(redis, this.keys.index, from, '+inf', 1),
    );
    return first?.at;
  }

  /** Sets a clock by the server that holds the index. */
  readTime(clock: RedisClock): Promise<void> {
    return readTime(this.commands, clock);
  }

  /** Some of the entries, from a cursor on (`'0'` at first) to the next one (`'0'` at the end); one may come twice. */
  async page(
    cursor: string,
    count: number,
  ): Promise<{ cursor: string; entries: DeadlineEntry[] }> {
    const [next, flat] = await this.commands.run((redis) =>
      redis.zscanBuffer(this.keys.index, cursor, 'COUNT', count),
    );
    return { cursor: next.toString(), entries: toEntries(flat) };
  }

  /** When each of some keys is to be looked at; undefined for a key that it does not know. */
  async scores(keys: readonly Buffer[]): Promise<(number | undefined)[]> {
    const reply = (await this.commands.run((redis) =>
      redis.call('ZMSCORE', this.keys.index, ...keys),
    )) as (string | null)[];
    return reply.map((score) => (score === null ? undefined : Number(score)));
  }

  size(): Promise<number> {
    return this.commands.run((redis) => redis.zcard(this.keys.index));
  }
}

async function range(
  redis: Redis,
  index: string,
  from: string | number,
  to: string | number,
  limit: number,
): Promise<DeadlineEntry[]> {
  const command = redis.zrangebyscoreBuffer(
    index,
    from === -Infinity ? '-inf' : from,
    to,
    'WITHSCORES',
    'LIMIT',
    0,
    limit,
  );
  return toEntries(await command);
}

/** A flat list of keys and scores. */
function toEntries(flat: readonly Buffer[]): DeadlineEntry[] {
  const entries: DeadlineEntry[] = [];
  for (let i = 0; i < flat.length; i += 2)
    entries.push({ key: flat[i]!, at: Number(flat[i + 1]) });
  return entries;
}
