import type { Redis } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';
import type { Commands } from '../connection/commands.js';
import {
  isExistingGroup,
  isForbidden,
  isMissingGroup,
  isUnknownCommand,
} from '../connection/server-error.js';
import { type Backlog, readBacklog } from './backlog.js';
import type { GroupKeys } from './group-keys.js';
import { DEFAULT_LETTER_LIMITS, type LetterLimits } from './letter-limits.js';
import type { Partition } from './partition.js';
import { ACKNOWLEDGE } from '../scripts/acknowledge.lua.js';
import { BEGIN } from '../scripts/begin.lua.js';
import { CLAIM } from '../scripts/claim.lua.js';
import { DROP_LETTERS } from '../scripts/drop-letters.lua.js';
import { FINISH } from '../scripts/finish.lua.js';
import { PROMOTE } from '../scripts/promote.lua.js';
import { REAP } from '../scripts/reap.lua.js';
import { RENEW_ENTRIES } from '../scripts/renew-entries.lua.js';
import {
  type Entry,
  type Leftover,
  type RawEntry,
  notesOf,
  toEntry,
} from './stream-entry.js';

/** Ms that a read waits at Redis for events. */
const BLOCK_MS = 2_000;

/** Entries that one step is about at most. */
const PAGE = 1_000;

/**
 * The stream of events of one partition and what goes with it, as commands. Everything that changes more
 * than one thing is one script.
 */
export class EventStream {
  /** The reading connection, as Redis numbers it; each connection has a client of its own. */
  #readerId: number | undefined;
  #readerOf: Redis | undefined;

  private readonly commands: Commands;
  /** A connection of its own: it blocks. */
  private readonly reader: CommandClient;
  private readonly keys: GroupKeys;

  constructor(
    { commands, reader, keys }: Pick<Partition, 'commands' | 'reader' | 'keys'>,
    private readonly group: string,
    private readonly consumer: string,
    private readonly limits: LetterLimits = DEFAULT_LETTER_LIMITS,
  ) {
    this.commands = commands;
    this.reader = reader;
    this.keys = keys;
  }

  /** Makes the consumer group if there is none: from the first event on, not from the next. */
  async create(): Promise<void> {
    try {
      await this.commands.run((redis) =>
        redis.xgroup('CREATE', this.keys.events, this.group, '0', 'MKSTREAM'),
      );
    } catch (error) {
      if (!isExistingGroup(error)) throw error;
    }
  }

  /**
   * Takes new events. Waits for some seconds where there are none, if it may.
   */
  async read(count: number, { mayWait = true } = {}): Promise<Entry[]> {
    try {
      const reply = (await this.reader.runNow((redis) => {
        this.#learnId(redis);
        return redis.callBuffer(
          'XREADGROUP',
          ...['GROUP', this.group, this.consumer],
          ...['COUNT', count, ...(mayWait ? ['BLOCK', BLOCK_MS] : [])],
          ...['STREAMS', this.keys.events, '>'],
        );
      })) as [Buffer, RawEntry[]][] | null;
      return (reply?.[0]?.[1] ?? []).map(([id, fields]) =>
        toEntry(id, fields ?? []),
      );
    } catch (error) {
      if (!isMissingGroup(error)) throw error;
      // Flushed: begun anew.
      await this.create();
      return [];
    }
  }

  #learnId(redis: Redis): void {
    if (this.#readerOf === redis) return;
    this.#readerOf = redis;
    this.#readerId = undefined;
    redis.once('close', () => (this.#readerOf = undefined));
    redis.client('ID').then(
      (id) => (this.#readerId = id),
      () => undefined,
    );
  }

  /** What was delivered to this instance before and is not ended, the oldest first: an answer may have been lost. */
  async readAgain(): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (let after = '0'; ;) {
      const page = await this.#readOwn(after);
      if (page.length > 0) {
        const runs = await this.#runsOf(page.map(([id]) => id));
        page.forEach(([id, fields], i) => {
          if (fields) entries.push(toEntry(id, fields, runs[i]));
        });
      }
      if (page.length < PAGE) return entries;
      after = page.at(-1)![0].toString();
    }
  }

  /** What was noted of the runs of entries; nothing where the server refuses to tell, as it refuses the notes. */
  async #runsOf(ids: readonly Buffer[]): Promise<(string | null)[]> {
    try {
      return await this.commands.run((redis) =>
        redis.hmget(this.keys.runs, ...ids),
      );
    } catch (error) {
      if (isForbidden(error) || isUnknownCommand(error)) return [];
      throw error;
    }
  }

  async #readOwn(after: string): Promise<RawEntry[]> {
    try {
      const reply = (await this.reader.runNow((redis) =>
        redis.callBuffer(
          'XREADGROUP',
          ...['GROUP', this.group, this.consumer, 'COUNT', PAGE],
          ...['STREAMS', this.keys.events, after],
        ),
      )) as [Buffer, RawEntry[]][] | null;
      return reply?.[0]?.[1] ?? [];
    } catch (error) {
      // Flushed: the next read begins anew.
      if (isMissingGroup(error)) return [];
      throw error;
    }
  }

  /** Ends a read that waits: its connection cannot be closed, or what Redis just gave it would be lost for a while. */
  async endRead(): Promise<void> {
    const id = this.#readerId;
    if (id === undefined) return;
    // Where it is forbidden, the read ends by itself after some seconds.
    await this.commands
      .run((redis) => redis.client('UNBLOCK', id))
      .catch(() => undefined);
  }

  /** Takes over what was not renewed for so long. */
  async claim(idle: number, count: number): Promise<Entry[]> {
    const reply = (await this.commands.run((redis) =>
      CLAIM.runBuffers(
        redis,
        [this.keys.events, this.keys.runs],
        ...[this.group, this.consumer, idle, count],
      ),
    )) as [Buffer, Buffer, Buffer[]][];
    return reply.map(([id, runs, fields]) =>
      toEntry(id, fields, runs.toString()),
    );
  }

  /**
   * Notes what `Entry.runs` says, before handlers begin to run. Resolves with the ids of entries that
   * are not this instance's any more: another one has taken them over, and may have ended them.
   */
  async begin(entries: readonly Entry[]): Promise<Set<string>> {
    const { events, runs } = this.keys;
    const replies = await this.commands.run((redis) =>
      Promise.all(
        pagesOf(entries).map((page) =>
          BEGIN.run(
            redis,
            [events, runs],
            ...[this.group, this.consumer],
            ...notesOf(page),
          ),
        ),
      ),
    );
    return new Set((replies as string[][]).flat());
  }

  /** Keeps entries with this instance. Returns those that still are. */
  async renew(ids: readonly string[]): Promise<Set<string>> {
    const { events } = this.keys;
    const reply = await this.commands.run((redis) =>
      RENEW_ENTRIES.run(redis, [events], this.group, this.consumer, ...ids),
    );
    return new Set(reply as string[]);
  }

  /** Ends entries that are done. */
  async acknowledge(ids: readonly string[]): Promise<void> {
    const { events, runs } = this.keys;
    await this.commands.run((redis) =>
      ACKNOWLEDGE.run(redis, [events, runs], this.group, ...ids),
    );
  }

  /**
   * Ends an entry of which something is left to do. Does nothing if somebody else ended it. Resolves
   * with how many older letters had to go for those that were given up.
   */
  async finish(id: string, left: Leftover): Promise<number> {
    const { retries, waits, dead } = left;
    const { events, retry, dead: letters, runs, dropped, grace } = this.keys;
    const { maxCount } = this.limits;
    const reply = await this.commands.run((redis) =>
      FINISH.run(
        redis,
        [events, retry, letters, runs, dropped, grace],
        ...[this.group, this.consumer, id, maxCount],
        ...[retries.length, waits.length],
        ...retries.flatMap(({ delay, payload }) => [delay, payload]),
        ...waits.flatMap(({ due, payload }) => [due, payload]),
        ...dead.flatMap(({ payload, error }) => [payload, error]),
      ),
    );
    return Math.max(0, Number(reply));
  }

  /** Deletes letters that are too old or too many, a thousand at most. Resolves with how many there were. */
  async dropLetters(): Promise<number> {
    const { dead, dropped } = this.keys;
    const { maxAge, maxCount } = this.limits;
    const reply = await this.commands.run((redis) =>
      DROP_LETTERS.run(redis, [dead, dropped], maxAge, maxCount, PAGE),
    );
    return Number(reply);
  }

  /** Puts retries that are due, and what has waited for a grace that is over, back among the events. Returns ms until the next one, or undefined. */
  async promote(count: number): Promise<number | undefined> {
    const { retry, events, grace } = this.keys;
    const next = (await this.commands.run((redis) =>
      PROMOTE.run(redis, [retry, events, grace], count),
    )) as number;
    return next < 0 ? undefined : next;
  }

  /** Removes consumers that gave no sign of life for so long and have nothing pending. */
  async reap(idle: number): Promise<void> {
    const { events } = this.keys;
    await this.commands.run((redis) =>
      REAP.run(redis, [events], this.group, idle, this.consumer),
    );
  }

  backlog(): Promise<Backlog> {
    return readBacklog(this.commands, this.keys, this.group);
  }
}

function pagesOf<T>(items: readonly T[]): (readonly T[])[] {
  const pages: (readonly T[])[] = [];
  for (let i = 0; i < items.length; i += PAGE)
    pages.push(items.slice(i, i + PAGE));
  return pages;
}
