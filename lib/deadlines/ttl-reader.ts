import type { Redis } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';
import { isForbidden, isReplyError } from '../keyspace/redis-node.js';
import type { DeadlineEntry } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';
import { READ_PROVEN } from './scripts/read-proven.lua.js';
import { SCAN_TTLS } from './scripts/scan-ttls.lua.js';

/** When some keys run out: `now` in epoch ms by Redis's clock, and each key's PTTL (-1 none, -2 gone). */
export interface Ttls {
  readonly now: number;
  readonly ttls: readonly number[];
}

/** One page of a scan. */
export interface ScanPage {
  /** Where to go on; `'0'` at the end. */
  readonly cursor: string;
  readonly entries: DeadlineEntry[];
}

/**
 * Reads the times to live of one server's keys, and sets the clock by every answer. Reading is also
 * touching: a key whose deadline has passed expires at once. One script a batch, or pipelines of
 * plain commands where scripts are forbidden. Rejects as the connection does.
 */
export class TtlReader {
  #scripts = true;

  constructor(
    private readonly commands: CommandClient,
    private readonly clock: RedisClock,
    private readonly isCluster: boolean,
  ) {}

  /**
   * The times to live of some keys, some hundreds at most; by a script, -3 for a key that this very
   * look removed.
   */
  read(keys: readonly Buffer[]): Promise<Ttls> {
    return this.#script(
      (redis) => this.#runBatches(redis, keys),
      ({ now }) => now,
      () => this.#pipeline(keys),
    );
  }

  /**
   * As `read`, and -3 for a key that this very look removed: it expired, and was not deleted. Takes
   * the permission to run scripts.
   */
  async readProven(keys: readonly Buffer[]): Promise<Ttls> {
    const sent = this.clock.mark();
    const reply = await this.commands.runNow((redis) =>
      this.#runBatches(redis, keys),
    );
    this.clock.read(reply.now, sent);
    return reply;
  }

  /** The keys of a batch may have different slots, those of a script may not. */
  async #runBatches(redis: Redis, keys: readonly Buffer[]): Promise<Ttls> {
    const batches = this.isCluster ? keys.map((key) => [key]) : [keys];
    const replies = await Promise.all(
      batches.map((batch) =>
        runBatch(redis, READ_PROVEN, batch).catch((error: unknown): Ttls => {
          if (!isElsewhere(error)) throw error;
          return { now: Infinity, ttls: batch.map(() => -2) };
        }),
      ),
    );
    const now = Math.min(...replies.map((reply) => reply.now));
    return {
      now: Number.isFinite(now) ? now : Math.floor(this.clock.now()),
      ttls: replies.flatMap((reply) => reply.ttls),
    };
  }

  /** Some of the keys that match a pattern and have a deadline. */
  scan(cursor: string, pattern: string, count: number): Promise<ScanPage> {
    let now = 0;
    return this.#script(
      async (redis) => {
        const reply = (await redis.callBuffer(
          'EVAL',
          SCAN_TTLS,
          0,
          cursor,
          pattern,
          count,
        )) as [Buffer, number, ...(Buffer | number)[]];
        now = reply[1];
        const entries: DeadlineEntry[] = [];
        for (let i = 2; i < reply.length; i += 2) {
          const at = now + (reply[i + 1] as number);
          entries.push({ key: reply[i] as Buffer, at });
        }
        return { cursor: reply[0].toString(), entries };
      },
      () => now,
      () => this.#scanPlain(cursor, pattern, count),
    );
  }

  /** Sets the clock. */
  async readTime(): Promise<void> {
    const sent = this.clock.mark();
    const time = await this.commands.runNow((redis) => timeOf(redis));
    this.clock.read(time ?? this.clock.local(sent), sent);
  }

  async #script<T>(
    work: (redis: Redis) => Promise<T>,
    nowOf: (result: T) => number,
    plain: () => Promise<T>,
  ): Promise<T> {
    if (!this.#scripts) return plain();
    const sent = this.clock.mark();
    try {
      const result = await this.commands.runNow(work);
      this.clock.read(nowOf(result), sent);
      return result;
    } catch (error) {
      if (!isReplyError(error) || !/^(NOPERM|ERR)/.test(error.message))
        throw error;
      this.#scripts = false;
      return plain();
    }
  }

  async #scanPlain(
    cursor: string,
    pattern: string,
    count: number,
  ): Promise<ScanPage> {
    const [next, keys] = await this.commands.runNow((redis) =>
      redis.scanBuffer(cursor, 'MATCH', pattern, 'COUNT', count),
    );
    const { now, ttls } = await this.#pipeline(keys);
    const entries = keys.map((key, i) => ({ key, at: now + ttls[i]! }));
    return {
      cursor: next.toString(),
      entries: entries.filter((_, i) => ttls[i]! >= 0),
    };
  }

  async #pipeline(keys: readonly Buffer[]): Promise<Ttls> {
    const sent = this.clock.mark();
    const [time, ...ttls] = await this.commands.runNow((redis) =>
      Promise.all([
        timeOf(redis),
        ...keys.map((key) =>
          redis.pttl(key).catch((error: unknown) => {
            if (isElsewhere(error)) return -2;
            throw error;
          }),
        ),
      ]),
    );
    const now = time ?? this.clock.local(sent);
    this.clock.read(now, sent);
    return { now, ttls };
  }
}

/** The key lives on another node by now, where another look will find it. */
const isElsewhere = (error: unknown): boolean =>
  isReplyError(error) && /^(MOVED|ASK)/.test(error.message);

async function runBatch(
  redis: Redis,
  script: string,
  keys: readonly Buffer[],
): Promise<Ttls> {
  const reply = await redis.eval(script, keys.length, ...keys);
  const [now, ...ttls] = reply as [number, ...number[]];
  return { now, ttls };
}

/** Redis's time in epoch ms; undefined where the ACL forbids to ask. */
async function timeOf(redis: Redis): Promise<number | undefined> {
  try {
    // The client's typing says numbers; the server sends texts.
    const [seconds, micros] = (await redis.time()).map(Number);
    return seconds! * 1_000 + Math.floor(micros! / 1_000);
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}
