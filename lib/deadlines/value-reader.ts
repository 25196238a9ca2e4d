import type { Commands } from '../connection/commands.js';
import { isDenied } from '../connection/server-error.js';
import {
  type ReadValue,
  type ValueKinds,
  hashBytes,
} from '../dispatch/event-value.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { READ_VALUES } from '../scripts/read-values.lua.js';
import type { Log } from '../util/log.js';
import type { DeadlineEntry } from './deadline-index.js';
import type { RedisClock } from './redis-clock.js';
import type { ValueMemory } from './value-memory.js';

/** The option `values`, complete. */
export interface ValueOptions {
  /** Ms before the deadline at which a value is read. */
  readonly lead: number;
  /** A longer value is not read. */
  readonly maxBytes: number;
}

/** Whose values are asked for; the registry of subscriptions tells it. */
export interface ValueWishes {
  /** Which types are asked for at all; undefined where nobody asks for a value. */
  readonly kinds: ValueKinds | undefined;
  /** The name of a key of which the value may be asked for, if there is one. */
  readonly example: string | undefined;
  /** In which types of keys the value of one is asked for; undefined where nobody asks for it. */
  kindsOf(redisKey: Buffer): ValueKinds | undefined;
}

/** An index in Redis that is to follow renewed keys, and the leader's fencing token. */
export interface SharedIndex {
  readonly index: string;
  readonly lease: string;
  readonly token: string;
}

/** What a look ahead found of a key. */
export interface LookedAhead {
  /** As `READ-VALUES` tells it: epoch ms, or -1 none, -2 gone, -4 elsewhere, -5 forbidden. */
  readonly deadline: number;
  /** It has no more than `lead` left: what could be read was read, and is remembered. */
  readonly isDying: boolean;
}

/** What reading values takes. */
export interface ValueParts {
  readonly commands: Commands;
  readonly clock: Pick<RedisClock, 'mark' | 'read'>;
  readonly counters: ExpiryCounters;
  readonly wishes: ValueWishes;
  readonly options: ValueOptions;
  readonly log: Log;
}

/** Bytes of values after which a script reads no more. */
const BUDGET = 1_000_000;
/** What the script says in the place of a value. */
const [NOT_READ, TOO_LONG, AGAIN] = [0, 1, 3];

/** Each kind as scripts are told of it. */
export const LETTERS: Readonly<Record<ValueKinds, string>> = {
  string: 's',
  hash: 'h',
  either: 'e',
};

/**
 * Reads the values of one node's keys that are about to run out, by the script READ-VALUES, and remembers them. Broadcast's
 * judge and a group's `ValueLooks` have one.
 *
 * Guarantees: nothing is read of a key of which nobody asks for the value, or that has more than `lead` left. What the
 * server refuses costs the values, and not the expiries: a warning says once what to grant.
 */
export class ValueReader {
  #hasWarned = false;
  #hasWarnedOfLength = false;

  constructor(
    private readonly memory: ValueMemory,
    private readonly parts: ValueParts,
    private readonly shared?: SharedIndex,
  ) {}

  /** Whether somebody asks for the value of a key. */
  wants(key: Buffer): boolean {
    return this.parts.wishes.kindsOf(key) !== undefined;
  }

  /** Looks at keys of which somebody asks for the value. Resolves with what it found, in their order. Rejects as the connection does. */
  async look(entries: readonly DeadlineEntry[]): Promise<LookedAhead[]> {
    const found = new Map<DeadlineEntry, LookedAhead>();
    let left = entries;
    while (left.length > 0) left = await this.#lookOnce(left, found);
    return entries.map((entry) => found.get(entry)!);
  }

  /** Resolves with the entries that have to be asked for again. */
  async #lookOnce(
    entries: readonly DeadlineEntry[],
    found: Map<DeadlineEntry, LookedAhead>,
  ): Promise<DeadlineEntry[]> {
    let reply: readonly unknown[];
    try {
      reply = await this.#send(entries);
    } catch (error) {
      if (!isDenied(error)) throw error;
      this.warn(reasonOf(error));
      for (const entry of entries)
        found.set(entry, { deadline: entry.at, isDying: true });
      return [];
    }
    const [now, refusal] = reply as [number, Buffer];
    if (refusal.length > 0) this.warn(refusal.toString());
    return entries.filter((entry, i) => {
      const deadline = reply[2 + 2 * i] as number;
      const answer = reply[3 + 2 * i];
      if (answer === AGAIN) return true;
      const isDying = deadline >= 0 && answer !== NOT_READ;
      found.set(entry, { deadline, isDying });
      if (isDying) this.#remember(entry.key, deadline, now, answer);
      return false;
    });
  }

  async #send(entries: readonly DeadlineEntry[]): Promise<readonly unknown[]> {
    const { commands, clock, wishes, options } = this.parts;
    const { shared } = this;
    const kinds = entries.map(
      ({ key }) => LETTERS[wishes.kindsOf(key) ?? 'string'],
    );
    const sent = clock.mark();
    const reply = await commands.runNow((redis) =>
      READ_VALUES.runBuffers(
        redis,
        shared ? [shared.index, shared.lease] : [],
        ...[shared?.token ?? '', options.lead, options.maxBytes, BUDGET],
        kinds.join(''),
        ...entries.flatMap(({ key, at }) => [at, key]),
      ),
    );
    const [now] = reply as [number];
    clock.read(now, sent);
    return reply as readonly unknown[];
  }

  #remember(key: Buffer, deadline: number, now: number, answer: unknown): void {
    if (answer === TOO_LONG) this.#noteTooLong(key);
    const age = Math.max(0, deadline - now);
    this.memory.set(key.toString('latin1'), {
      deadline,
      value: valueOf(answer, age),
    });
  }

  #noteTooLong(key: Buffer): void {
    this.parts.counters.valuesTooLong++;
    if (this.#hasWarnedOfLength) return;
    this.#hasWarnedOfLength = true;
    this.parts.log.warn(
      `The value of ${JSON.stringify(key.toString())} is longer than ${this.parts.options.maxBytes} bytes (values.maxBytes), so its event has none. ` +
        'status().counters.valuesTooLong counts such keys. Raise values.maxBytes, or ask for no value',
    );
  }

  /** Warns, once, that the server refuses it. */
  warn(reason: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.parts.log.warn(refusedText(reason));
  }
}

/** What to tell the operator where values may not be read. */
export const refusedText = (reason: string): string =>
  `Redis does not let the module read values (${reason}), so events have none. ` +
  'Grant EVAL, EVALSHA, and GETRANGE for strings, or HLEN, HKEYS, HSTRLEN and HGETALL for hashes, on the keys';

function valueOf(answer: unknown, age: number): ReadValue | undefined {
  if (Buffer.isBuffer(answer)) return { kind: 'string', bytes: answer, age };
  if (!Array.isArray(answer)) return undefined;
  const flat = answer as readonly Buffer[];
  const fields: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    fields.push([flat[i]!.toString(), flat[i + 1]!.toString()]);
  return { kind: 'hash', bytes: hashBytes(fields), age };
}
