import type { Redis } from 'ioredis';
import type { Commands } from '../connection/commands.js';
import type { Script } from '../connection/script.js';
import {
  isDenied,
  isForbidden,
  isRedirect,
  refusedCommand,
  replyCode,
} from '../connection/server-error.js';
import type { DeadlineEntry } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';
import type { ScanPass } from './scan-plan.js';
import { READ_PROVEN } from '../scripts/read-proven.lua.js';
import { SCAN_TTLS } from '../scripts/scan-ttls.lua.js';

/** When some keys run out: `now` in epoch ms by Redis's clock, and each key's PTTL (-1 none, -2 gone, -5 forbidden). */
export interface Ttls {
  readonly now: number;
  readonly ttls: readonly number[];
  /** Whether they were noted in an index in the same step. */
  readonly isNoted?: boolean;
}

/** One page of a scan. */
export interface ScanPage {
  /** The cursor of the next page; `'0'` at the end. */
  readonly cursor: string;
  /** The keys of the page that match and have a deadline. */
  readonly entries: DeadlineEntry[];
  /** Keys that may match and may have a deadline, but were not looked at. */
  readonly candidates: readonly Buffer[];
}

/** Ms for which plain commands are used after the server refused a script. */
const PLAIN_COMMANDS_MS = 10_000;

/**
 * Reads the times to live of one server's keys, and sets the clock by every answer. A read is also a
 * touch: a key whose deadline has passed expires by it at once. It sends one script for each batch, or
 * pipelines of plain commands where scripts are forbidden. Its methods reject as the connection does.
 */
export class TtlReader {
  /** Called for each key that the ACL does not let `read` look at. It must be quick, and must not throw. */
  onForbidden: ((key: Buffer) => void) | undefined;
  readonly #readProven: Script;
  readonly #scanTtls: Script;
  /** Until when scripts are not tried because the server refused one, by `performance.now()`. */
  #plainUntil = -Infinity;

  /** @param inCluster as of `RedisNode` */
  constructor(
    private readonly commands: Commands,
    private readonly clock: RedisClock,
    inCluster: boolean,
  ) {
    // A key may run out on the node to which its slot is on its way, before the
    // slot has arrived, and no other node would know of it.
    this.#readProven = inCluster ? READ_PROVEN.arriving : READ_PROVEN;
    this.#scanTtls = inCluster ? SCAN_TTLS.arriving : SCAN_TTLS;
  }

  /**
   * The times to live of some keys, some hundreds at most; by a script, -3 for a key that this very
   * look removed.
   *
   * @param index where to note them in the same step, where that can be
   */
  async read(keys: readonly Buffer[], index?: string): Promise<Ttls> {
    const ttls = await this.#script(
      (redis) => this.#runBatch(redis, keys, index),
      (reply) => reply.now,
      () => this.#pipeline(keys),
    );
    this.#tellForbidden(keys, ttls.ttls);
    return ttls;
  }

  /** Calls back for each key that the ACL forbids. */
  #tellForbidden(keys: readonly Buffer[], ttls: readonly number[]): void {
    keys.forEach((key, i) => {
      if (ttls[i] === -5) this.onForbidden?.(key);
    });
  }

  /** One script. The keys are not declared: they differ in their slots, and the ACL may forbid some. */
  async #runBatch(
    redis: Redis,
    keys: readonly Buffer[],
    index: string | undefined,
  ): Promise<Ttls> {
    const isNoted = index !== undefined;
    const reply = await this.#readProven.run(
      redis,
      isNoted ? [index] : [],
      ...keys,
    );
    const [now, ...ttls] = reply as [number, ...number[]];
    return { now, ttls, isNoted };
  }

  /** One page of a pass. */
  async scan(
    cursor: string,
    { match, filters }: ScanPass,
    count: number,
  ): Promise<ScanPage> {
    let now = 0;
    return this.#script(
      async (redis) => {
        const reply = (await this.#scanTtls.runBuffers(
          redis,
          [],
          ...[cursor, match, count],
          ...filters.flatMap(({ head, tail, exact }) => [
            ...[head, tail, exact ? 1 : 0],
          ]),
        )) as [Buffer, number, ...(Buffer | number)[]];
        now = reply[1];
        const entries: DeadlineEntry[] = [];
        const candidates: Buffer[] = [];
        for (let i = 2; i < reply.length; i += 2) {
          const key = reply[i] as Buffer;
          const ttl = reply[i + 1] as number;
          if (ttl < 0) candidates.push(key);
          else entries.push({ key, at: now + ttl });
        }
        return { cursor: reply[0].toString(), entries, candidates };
      },
      () => now,
      () => this.#scanPlain(cursor, match, count),
    );
  }

  /** How many keys of a database have a deadline; undefined where the server does not tell. */
  async countVolatile(database: number): Promise<number | undefined> {
    try {
      const info = await this.commands.runNow((redis) =>
        redis.info('keyspace'),
      );
      const line = new RegExp(`^db${database}:.*expires=(\\d+)`, 'm');
      return Number(line.exec(info)?.[1] ?? 0);
    } catch (error) {
      if (isDenied(error) || replyCode(error) === 'ERR') return undefined;
      throw error;
    }
  }

  /** Sets the clock. */
  readTime(): Promise<void> {
    return readTime(this.commands, this.clock);
  }

  async #script<T>(
    work: (redis: Redis) => Promise<T>,
    nowOf: (result: T) => number,
    plain: () => Promise<T>,
  ): Promise<T> {
    if (performance.now() < this.#plainUntil) return plain();
    const sent = this.clock.mark();
    try {
      const result = await this.commands.runNow(work);
      this.clock.read(nowOf(result), sent);
      return result;
    } catch (error) {
      if (!isDenied(error) && replyCode(error) !== 'ERR') throw error;
      // The ACL may grant it later, and another server may have what this one does not.
      if (isDenied(error))
        this.#plainUntil = performance.now() + PLAIN_COMMANDS_MS;
      return plain();
    }
  }

  async #scanPlain(
    cursor: string,
    match: string,
    count: number,
  ): Promise<ScanPage> {
    const [next, candidates] = await this.commands.runNow((redis) =>
      redis.scanBuffer(cursor, 'MATCH', match, 'COUNT', count),
    );
    return { cursor: next.toString(), entries: [], candidates };
  }

  async #pipeline(keys: readonly Buffer[]): Promise<Ttls> {
    const sent = this.clock.mark();
    const [time, ...ttls] = await this.commands.runNow((redis) =>
      Promise.all([
        timeOf(redis),
        ...keys.map((key) =>
          redis.pttl(key).catch((error: unknown) => {
            if (isRedirect(error)) return -2;
            // This very key may not be read; others may.
            if (isForbidden(error) && !refusedCommand(error)) return -5;
            throw error;
          }),
        ),
      ]),
    );
    const now = time ?? this.clock.local(sent);
    this.clock.read(now, sent);
    return { now, ttls, isNoted: false };
  }
}

/** Sets a clock by the time of a server. */
export async function readTime(
  commands: Commands,
  clock: RedisClock,
): Promise<void> {
  const sent = clock.mark();
  const time = await commands.runNow((redis) => timeOf(redis));
  clock.read(time ?? clock.local(sent), sent);
}

/** Redis's time in epoch ms; undefined where the server does not tell it. */
async function timeOf(redis: Redis): Promise<number | undefined> {
  try {
    // The client's typing says numbers; the server sends texts.
    const [seconds, micros] = (await redis.time()).map(Number);
    return seconds! * 1_000 + Math.floor(micros! / 1_000);
  } catch (error) {
    if (isDenied(error)) return undefined;
    throw error;
  }
}
