import { type ReadValue, type ValueForm, showValue } from './event-value.js';
import type { KeyExpiredEvent } from './key-expired-event.js';
import type { KeyExpiringEvent } from './key-expiring-event.js';
import type { RedisGlob } from './redis-glob.js';

/**
 * One key that expired, as it was heard or read from a stream, before a handler is given a `KeyExpiredEvent` of it. Or
 * one that is about to, before a handler is given a `KeyExpiringEvent`: that is a warning.
 */
export interface Expiry {
  /** The key as Redis knows it, `keyPrefix` included. */
  readonly redisKey: Buffer;
  /** The key's bytes after the `keyPrefix`. */
  readonly key: Buffer;
  readonly database: number;
  readonly source: KeyExpiredEvent['source'];
  /** When the key's time to live ran out, and ms from then to the detection, where that is known. */
  readonly deadline?: Date;
  readonly lateness?: number;
  /** Only of a warning, whose `lateness` is its own: ms before the deadline at which it was due. */
  readonly before?: number | undefined;
  /** The value that it had, where it was read in time. */
  readonly value?: ReadValue;
  /** Group only: the group; the name of this expiry, the same on every delivery; and which try this is, from 1 on. */
  readonly group?: string;
  readonly id?: string;
  readonly attempt?: number;
  /** The handler's `grace` is over, and this is its first try: if the key lives now, it came back in time. */
  readonly isAfterGrace?: boolean;
}

/** When an event that failed is tried again. */
export interface RetryPolicy {
  /** How often it is tried in all. */
  readonly attempts: number;
  /** Ms to wait after the given try, the first being 1, failed. */
  readonly delay: (attempt: number) => number;
}

/** One method or function that runs for the keys that match one pattern. */
export interface ExpiryHandler {
  /** `Class.method`, for log lines. */
  readonly name: string;
  /**
   * Where the handler comes from: the Nest module, and the provider's token where that is not the class.
   * It tells handlers of the same name apart, and is the same after a restart.
   */
  readonly scope?: string;
  readonly glob: RedisGlob;
  /** The most events that it runs at once. */
  readonly concurrency: number;
  readonly invoke: (event: KeyExpiredEvent) => unknown;
  /** Set where it runs for warnings: ms before the deadline. Undefined: it runs for expiries. */
  readonly before?: number | undefined;
  /** Ms after which a run that has not ended has failed; undefined: there is no limit. */
  readonly timeout?: number;
  /** In which form the event has the value; undefined: it has none. */
  readonly value?: ValueForm;
  /** Whole ms after the deadline in which a key that comes back was not away; undefined: none. */
  readonly grace?: number;
  /** Group only. */
  readonly retry?: RetryPolicy;
}

/** By how many ms a deadline may seem to change though nobody renewed the key: a move to another node of a Cluster shifts it. */
const SHIFTED_MS = 200;

/**
 * By how many ms two deadlines of a key differ at least where it was renewed in between, for warnings that
 * are made so many ms before.
 */
export const renewedBy = (before: number): number =>
  Math.min(SHIFTED_MS, before / 10);

/**
 * The event that the handler is given: a `KeyExpiringEvent` for a warning. Its bytes are a copy: a slice would keep the whole chunk
 * that was read from the socket in memory for as long as the user keeps the event.
 *
 * @param run whose signal the event's is; it is asked for when somebody reads that. Is told why a value is no JSON
 */
export function toEvent(
  expiry: Expiry,
  handler: ExpiryHandler,
  run: {
    readonly signal: AbortSignal;
    unreadable(reason: string): void;
  },
): KeyExpiredEvent | KeyExpiringEvent {
  const keyBuffer = Buffer.from(expiry.key);
  return {
    key: keyBuffer.toString(),
    keyBuffer,
    pattern: handler.glob.pattern,
    captures: handler.glob.captures(keyBuffer) ?? [],
    database: expiry.database,
    ...(expiry.deadline && {
      deadline: expiry.deadline,
      lateness: expiry.lateness!,
    }),
    ...(expiry.before !== undefined && {
      remaining: expiry.before - expiry.lateness!,
    }),
    source: expiry.source,
    ...(expiry.group !== undefined && { group: expiry.group, id: expiry.id! }),
    attempt: expiry.attempt ?? 1,
    ...(handler.value &&
      showValue(expiry.value, handler.value, (reason) =>
        run.unreadable(reason),
      )),
    get signal() {
      return run.signal;
    },
  };
}
