import type { ReadValue } from '../dispatch/event-value.js';
import type { Expiry } from '../dispatch/expiry.js';
import { RunCounts } from './run-counts.js';

/** An expiry as it is kept in a group's streams. */
export interface StoredEvent {
  /** The key as Redis knows it, `keyPrefix` included. */
  readonly redisKey: Buffer;
  /** Epoch ms by Redis's clock, where it is known. */
  readonly deadline: number | undefined;
  /** Only of a warning: ms before the deadline. Undefined for an expiry. */
  readonly before?: number | undefined;
  /** When it was detected. */
  readonly detected: number;
  readonly source: Expiry['source'];
  /** The value that the key had, where some handler asks for it and it was read in time. */
  readonly value?: ReadValue | undefined;
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
  /** For how many ms after its deadline it has waited for the grace of its handler. */
  readonly waited?: number;
}

/** What the id of an event is made of. */
export type EventName = Pick<
  StoredEvent,
  'redisKey' | 'deadline' | 'detected' | 'before'
>;

/** The `handler` of what cannot be read: not of ours, or of a version to come. */
export const NOT_READABLE = '(not readable)';

/** As JSON: what a retry or a dead letter is kept as. */
interface Payload {
  k: string;
  d?: number | undefined;
  b?: number | undefined;
  t: number;
  s: Expiry['source'];
  h?: string | undefined;
  a: number;
  r?: Record<string, number> | undefined;
  n?: number | undefined;
  o?: readonly string[] | undefined;
  /** The value as it is stored, in base64. */
  v?: string | undefined;
  /** `StoredEvent.waited`. */
  g?: number | undefined;
}

/** A value as it is stored: what it is of and its age, a colon, and its bytes, as `s19:{"battery":3}`; `h` for a hash. */
export const toStored = ({ kind, age, bytes }: ReadValue): Buffer =>
  Buffer.concat([
    Buffer.from(`${kind === 'hash' ? 'h' : 's'}${Math.round(age)}:`),
    bytes,
  ]);

/** As `toStored` writes it; undefined for what it did not write. */
function readStored(stored: Buffer | undefined): ReadValue | undefined {
  const colon = stored?.indexOf(':') ?? -1;
  if (!stored || colon < 0) return undefined;
  const mark = stored.toString('latin1', 0, colon);
  const [, kind, age] = /^([sh])(\d+)$/.exec(mark) ?? [];
  if (age === undefined) return undefined;
  return {
    kind: kind === 'h' ? 'hash' : 'string',
    bytes: stored.subarray(colon + 1),
    age: Number(age),
  };
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
  const before = of.get('b')?.toString();
  return {
    redisKey,
    deadline: deadline ? Number(deadline) : undefined,
    ...(before && { before: Number(before) }),
    detected: Number.isFinite(detected) ? detected : 0,
    source:
      of.get('s')?.toString() === 'recovery' ? 'recovery' : 'notification',
    value: readStored(of.get('v')),
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
    b: event.before,
    t: event.detected,
    s: event.source,
    h: event.handler,
    a: event.tries,
    r: event.runs.toJSON(),
    n: event.passes || undefined,
    o: event.taken?.length ? event.taken : undefined,
    v: event.value && toStored(event.value).toString('base64'),
    g: event.waited,
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
    ...(payload.b !== undefined && { before: payload.b }),
    detected: payload.t,
    source: payload.s,
    handler: payload.h,
    tries: payload.a,
    runs: RunCounts.from(payload.r),
    passes: payload.n ?? 0,
    ...(payload.o && { taken: payload.o }),
    value: readStored(
      payload.v === undefined ? undefined : Buffer.from(payload.v, 'base64'),
    ),
    ...(payload.g !== undefined && { waited: payload.g }),
  };
}

const isPayload = (value: Partial<Payload> | null): value is Payload =>
  typeof value?.k === 'string' &&
  Number.isFinite(value.t) &&
  Number.isFinite(value.a) &&
  (value.d === undefined || Number.isFinite(value.d)) &&
  (value.b === undefined ||
    (Number.isFinite(value.b) && value.d !== undefined)) &&
  (value.n === undefined || Number.isFinite(value.n)) &&
  (value.v === undefined || typeof value.v === 'string') &&
  (value.g === undefined || Number.isFinite(value.g)) &&
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
 * known, when it was detected. What names a warning: the key, when it runs out, and ms before. A key that is no text is
 * named in base64.
 */
export function eventId(event: EventName): string {
  const { redisKey, deadline, detected, before } = event;
  const text = redisKey.toString();
  const name = Buffer.from(text).equals(redisKey)
    ? text
    : `base64:${redisKey.toString('base64')}`;
  const warned = before === undefined ? '' : `-${before}`;
  return `${name}@${deadline ?? detected}${warned}`;
}

/** Ms from when an event was due to when it was detected: from the deadline, or from when a warning was due. 0 where the deadline is not known. */
export const latenessOf = ({
  deadline,
  detected,
  before = 0,
}: EventName): number =>
  deadline === undefined ? 0 : Math.max(0, detected - (deadline - before));
