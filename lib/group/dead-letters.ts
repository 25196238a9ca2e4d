import type { Commands } from '../connection/commands.js';
import type { GroupKeys } from './group-keys.js';
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
  /** Tries that were made. */
  readonly attempts: number;
  /** What the last try ended with. */
  readonly error: string;
  /** When it was given up. */
  readonly at: Date;
}

/** The group and the stream's entry that a letter's id names; undefined for what is no such id. */
export function readLetterId(
  id: unknown,
): { readonly group: string; readonly entry: string } | undefined {
  if (typeof id !== 'string') return undefined;
  const [, group, ...numbers] = /^(.+)\/(\d{1,20})-(\d{1,20})$/s.exec(id) ?? [];
  if (group === undefined || numbers.some((n) => BigInt(n) > MAX_ID_PART))
    return undefined;
  return { group, entry: numbers.join('-') };
}

/** Redis keeps each half of an entry's id in 64 bits. */
const MAX_ID_PART = 2n ** 64n - 1n;

/** One group's dead letters. Ids of letters are to be checked before, by `readLetterId`. */
export class DeadLetters {
  constructor(
    private readonly commands: Commands,
    private readonly keys: GroupKeys,
    private readonly group: string,
    private readonly keyPrefix: string,
  ) {}

  /** The oldest ones first, `count` at most, after the given one. */
  async list(count: number, after?: string): Promise<DeadLetter[]> {
    const from = after === undefined ? '-' : `(${this.#entryOf(after)}`;
    const entries = await this.commands.run((redis) =>
      redis.xrange(this.keys.dead, from, '+', 'COUNT', count),
    );
    return entries.map(([id, fields]) => this.#toLetter(id, fields));
  }

  /** Puts it back among the events, to be tried as if for the first time. Whether there was such a letter. */
  async redrive(letter: string): Promise<boolean> {
    const id = this.#entryOf(letter);
    const { dead, events } = this.keys;
    const [entry] = await this.commands.run((redis) =>
      redis.xrange(dead, id, id),
    );
    if (!entry) return false;
    const event = fromPayload(fieldsOf(entry[1]).p);
    const payload = toPayload({
      ...event,
      tries: 0,
      passes: 0,
      runs: RunCounts.none,
      // Whoever asks for it wants it to be handled by somebody.
      taken: [],
    });
    const moved = await this.commands.run((redis) =>
      REDRIVE.run(redis, [dead, events], id, payload),
    );
    return moved === 1;
  }

  /** Deletes it. Whether there was such a letter. */
  async discard(letter: string): Promise<boolean> {
    const id = this.#entryOf(letter);
    const deleted = await this.commands.run((redis) =>
      redis.xdel(this.keys.dead, id),
    );
    return deleted === 1;
  }

  #entryOf(letter: string): string {
    return letter.slice(letter.lastIndexOf('/') + 1);
  }

  #toLetter(id: string, fields: readonly string[]): DeadLetter {
    const { p, e } = fieldsOf(fields);
    const event = fromPayload(p);
    const keyBuffer = event.redisKey.subarray(
      Buffer.byteLength(this.keyPrefix),
    );
    return {
      id: `${this.group}/${id}`,
      group: this.group,
      key: keyBuffer.toString(),
      keyBuffer,
      eventId: eventId(event),
      ...(event.handler !== undefined && {
        handler: readableId(event.handler),
      }),
      ...(event.deadline !== undefined && {
        deadline: new Date(event.deadline),
      }),
      attempts: event.tries + event.runs.of(event.handler ?? ''),
      error: e,
      at: new Date(Number(id.split('-')[0])),
    };
  }
}

function fieldsOf(fields: readonly string[]): { p: string; e: string } {
  const of: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2)
    of[fields[i]!] = fields[i + 1]!;
  return { p: of['p'] ?? '', e: of['e'] ?? '' };
}
