import type { Expiry } from '../dispatch/expiry.js';
import { RunCounts } from './run-counts.js';

/** An expiry as it is kept in a group's streams. */
export interface StoredEvent {
  /** The key as Redis knows it, `keyPrefix` included. */
  readonly redisKey: Buffer;
  /** Epoch ms by Redis's clock, where it is known. */
  readonly deadline: number | undefined;
  /** When it was detected. */
  readonly detected: number;
  readonly source: Expiry['source'];
  /** The only handler it is for; undefined: every one that matches. */
  readonly handler: string | undefined;
  /** Tries that failed before. */
  readonly tries: number;
  /** Runs beside these that began and of whose end nobody was told, by the handler's id. */
  readonly runs: RunCounts;
  /** How often it was passed on since then by instances that have no handler for it. */
  readonly passes: number;
  /**
   * Handlers that got this expiry beside the one that it is for, by their ids. Where that one is gone
   * and others get it instead, these are left out: to them it would be a repeat.
   */
  readonly taken?: readonly string[];
}

/** The `handler` of what cannot be read: not of ours, or of a version to come. */
export const NOT_READABLE = '(not readable)';

/** As JSON: what a retry or a dead letter is kept as. */
interface Payload {
  k: string;
  d?: number | undefined;
  t: number;
  s: Expiry['source'];
  h?: string | undefined;
  a: number;
  r?: Record<string, number> | undefined;
  n?: number | undefined;
  o?: readonly string[] | undefined;
}

/** Reads the fields of a stream's entry: those that settling wrote, or one payload. */
export function fromFields(fields: readonly Buffer[]): StoredEvent {
  const of = new Map<string, Buffer>();
  for (let i = 0; i + 1 < fields.length; i += 2)
    of.set(fields[i]!.toString(), fields[i + 1]!);
  const payload = of.get('p');
  if (payload) return fromPayload(payload.toString());
  const redisKey = of.get('k');
  const detected = Number(of.get('t')?.toString());
  if (!redisKey) return notReadable(Buffer.concat(fields));
  const deadline = of.get('d')?.toString();
  return {
    redisKey,
    deadline: deadline ? Number(deadline) : undefined,
    detected: Number.isFinite(detected) ? detected : 0,
    source:
      of.get('s')?.toString() === 'recovery' ? 'recovery' : 'notification',
    handler: undefined,
    tries: 0,
    runs: RunCounts.none,
    passes: 0,
  };
}

export function toPayload(event: StoredEvent): string {
  const payload: Payload = {
    k: event.redisKey.toString('base64'),
    d: event.deadline,
    t: event.detected,
    s: event.source,
    h: event.handler,
    a: event.tries,
    r: event.runs.toJSON(),
    n: event.passes || undefined,
    o: event.taken?.length ? event.taken : undefined,
  };
  return JSON.stringify(payload);
}

export function fromPayload(text: string): StoredEvent {
  let payload: Payload;
  try {
    payload = JSON.parse(text) as Payload;
  } catch {
    return notReadable(Buffer.from(text));
  }
  if (!isPayload(payload)) return notReadable(Buffer.from(text));
  return {
    redisKey: Buffer.from(payload.k, 'base64'),
    deadline: payload.d,
    detected: payload.t,
    source: payload.s,
    handler: payload.h,
    tries: payload.a,
    runs: RunCounts.from(payload.r),
    passes: payload.n ?? 0,
    ...(payload.o && { taken: payload.o }),
  };
}

const isPayload = (value: Partial<Payload> | null): value is Payload =>
  typeof value?.k === 'string' &&
  Number.isFinite(value.t) &&
  Number.isFinite(value.a) &&
  (value.d === undefined || Number.isFinite(value.d)) &&
  (value.n === undefined || Number.isFinite(value.n)) &&
  (value.o === undefined || Array.isArray(value.o));

/** Kept as it is, in the key's place: for whoever looks at the dead letters. */
const notReadable = (redisKey: Buffer): StoredEvent => ({
  redisKey,
  deadline: undefined,
  detected: 0,
  source: 'notification',
  handler: NOT_READABLE,
  tries: 0,
  runs: RunCounts.none,
  passes: 0,
});

/**
 * What names an expiry, on every delivery of it: the key and when it ran out; where that is not
 * known, when it was detected. A key that is no text is named in base64.
 */
export function eventId({ redisKey, deadline, detected }: StoredEvent): string {
  const text = redisKey.toString();
  const name = Buffer.from(text).equals(redisKey)
    ? text
    : `base64:${redisKey.toString('base64')}`;
  return `${name}@${deadline ?? detected}`;
}
