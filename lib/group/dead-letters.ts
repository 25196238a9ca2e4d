import { type ReadValue, hashFields } from '../dispatch/event-value.js';
import type { Partition } from './partition.js';
import { readableId } from './own-handlers.js';
import { RunCounts } from './run-counts.js';
import { REDRIVE } from '../scripts/redrive.lua.js';
import { eventId, fromPayload, toPayload } from './stored-event.js';

/** An event that was given up after its last try. */
export interface DeadLetter {
  /** Names the letter, for `redrive` and `discard`. */
  readonly id: string;
  readonly group: string;
  /** UTF-8 text of the key, without the connection's `keyPrefix`. */
  readonly key: string;
  /** The key's exact bytes. */
  readonly keyBuffer: Buffer;
  /** `event.id` of the expiry. */
  readonly eventId: string;
  /** `Class.method` and pattern of the handler that failed, if it was one; `Class.method#2` for the second of two that are alike. */
  readonly handler?: string;
  readonly deadline?: Date;
  /** Only of a warning: milliseconds before the deadline. */
  readonly before?: number;
  /** The value that the key had, where its handler asked for it: the text of a string, or the fields of a hash. */
  readonly value?: string | Record<string, string>;
  /** The exact bytes of that string. */
  readonly valueBuffer?: Buffer;
  /** Tries that were made. */
  readonly attempts: number;
  /** What the last try ended with. */
  readonly error: string;
  /** When it was given up. */
  readonly at: Date;
}

/** A value as letters tell it. */
export const letterValue = (
  value: ReadValue | undefined,
): Pick<DeadLetter, 'value' | 'valueBuffer'> => {
  if (!value) return {};
  if (value.kind === 'hash') return { value: hashFields(value) };
  return { value: value.bytes.toString(), valueBuffer: value.bytes };
};

/** What the id of a letter names. */
export interface LetterName {
  readonly group: string;
  /** The number of the partition that has it. */
  readonly partition: number;
  /** The id of its entry in that partition's stream. */
  readonly entry: string;
}

/**
 * Reads the id of a letter: `group/<entry>` for one of the home partition, `group/<entry>@<number>` for one
 * of another partition. Returns undefined for what is no such id.
 */
export function readLetterId(id: unknown): LetterName | undefined {
  if (typeof id !== 'string') return undefined;
  const [, group, ms, sequence, number = '0'] =
    /^(.+)\/(\d{1,20})-(\d{1,20})(?:@([1-9]\d{0,5}))?$/s.exec(id) ?? [];
  if (group === undefined) return undefined;
  const numbers = [ms!, sequence!];
  if (numbers.some((n) => BigInt(n) > MAX_ID_PART)) return undefined;
  return { group, partition: Number(number), entry: numbers.join('-') };
}

const letterId = ({ group, partition, entry }: LetterName): string =>
  `${group}/${entry}${partition === 0 ? '' : `@${partition}`}`;

/** Redis keeps each half of an entry's id in 64 bits. */
const MAX_ID_PART = 2n ** 64n - 1n;

/** What of a partition its letters need. */
type LetterBox = Pick<Partition, 'commands' | 'keys' | 'number'>;

/** Where a letter is, and the id of its entry there. */
type Found = LetterBox & { readonly id: string };

/**
 * One group's dead letters, in all of its partitions: as one list, the oldest first. Letters that were
 * given up in the same millisecond are ordered by their entries' ids, and then by their partitions' numbers.
 *
 * Ids of letters are to be checked before, by `readLetterId`.
 */
export class DeadLetters {
  /** @param partitions those that there are now: they come and go, and one with letters does not go */
  constructor(
    private readonly partitions: () => Iterable<LetterBox>,
    private readonly group: string,
    private readonly keyPrefix: string,
  ) {}

  /** The oldest ones first, `count` at most, after the given one. */
  async list(count: number, after?: string): Promise<DeadLetter[]> {
    const last = readLetterId(after);
    const pages = await Promise.all(
      [...this.partitions()].map(async ({ commands, keys, number }) => {
        // Of the entries with the same id, those of partitions up to that number were listed.
        const isListed = last && number <= last.partition;
        const from = last ? `${isListed ? '(' : ''}${last.entry}` : '-';
        const entries = await commands.run((redis) =>
          redis.xrange(keys.dead, from, '+', 'COUNT', count),
        );
        return entries.map(([entry, fields]) => ({ entry, number, fields }));
      }),
    );
    return pages
      .flat()
      .toSorted((a, b) => byEntry(a.entry, b.entry) || a.number - b.number)
      .slice(0, count)
      .map(({ entry, number, fields }) =>
        this.#toLetter(entry, number, fields),
      );
  }

  /** One letter; undefined where there is no such letter. */
  async get(letter: string): Promise<DeadLetter | undefined> {
    const found = this.#find(letter);
    if (!found) return undefined;
    const { id, number } = found;
    const fields = await this.#read(found);
    return fields && this.#toLetter(id, number, fields);
  }

  /** Puts it back among the events, to be tried as if for the first time. Whether there was such a letter. */
  async redrive(letter: string): Promise<boolean> {
    const found = this.#find(letter);
    if (!found) return false;
    const { id, commands, keys } = found;
    const { dead, events } = keys;
    const fields = await this.#read(found);
    if (!fields) return false;
    const event = fromPayload(fieldsOf(fields).p);
    const payload = toPayload({
      ...event,
      tries: 0,
      passes: 0,
      runs: RunCounts.none,
      // Whoever asks for it wants it to be handled by somebody.
      taken: [],
    });
    const moved = await commands.run((redis) =>
      REDRIVE.run(redis, [dead, events], id, payload),
    );
    return moved === 1;
  }

  /** Deletes it. Whether there was such a letter. */
  async discard(letter: string): Promise<boolean> {
    const found = this.#find(letter);
    if (!found) return false;
    const { id, commands, keys } = found;
    const deleted = await commands.run((redis) => redis.xdel(keys.dead, id));
    return deleted === 1;
  }

  async #read({ id, commands, keys }: Found): Promise<string[] | undefined> {
    const [entry] = await commands.run((redis) =>
      redis.xrange(keys.dead, id, id),
    );
    return entry?.[1];
  }

  /** The partition that has a letter, and the letter's entry there; undefined where there is no such partition any more. */
  #find(letter: string): Found | undefined {
    const name = readLetterId(letter);
    for (const { number, commands, keys } of this.partitions())
      if (number === name?.partition)
        return { number, commands, keys, id: name.entry };
    return undefined;
  }

  #toLetter(
    entry: string,
    partition: number,
    fields: readonly string[],
  ): DeadLetter {
    const { group } = this;
    const { p, e } = fieldsOf(fields);
    const event = fromPayload(p);
    const keyBuffer = event.redisKey.subarray(
      Buffer.byteLength(this.keyPrefix),
    );
    return {
      id: letterId({ group, partition, entry }),
      group,
      key: keyBuffer.toString(),
      keyBuffer,
      eventId: eventId(event),
      ...(event.handler !== undefined && {
        handler: readableId(event.handler),
      }),
      ...(event.deadline !== undefined && {
        deadline: new Date(event.deadline),
      }),
      ...(event.before !== undefined && { before: event.before }),
      ...letterValue(event.value),
      attempts: event.tries + event.runs.of(event.handler ?? ''),
      error: e,
      at: new Date(Number(entry.split('-')[0])),
    };
  }
}

/** Compares ids of entries, whose halves are too large for a number. */
function byEntry(a: string, b: string): number {
  const [[ms, sequence], [otherMs, otherSequence]] = [halves(a), halves(b)];
  return Number(ms - otherMs) || Number(sequence - otherSequence);
}

function halves(entry: string): [bigint, bigint] {
  const [ms, sequence] = entry.split('-');
  return [BigInt(ms!), BigInt(sequence!)];
}

function fieldsOf(fields: readonly string[]): { p: string; e: string } {
  const of: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2)
    of[fields[i]!] = fields[i + 1]!;
  return { p: of['p'] ?? '', e: of['e'] ?? '' };
}
