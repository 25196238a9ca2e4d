import {
  type ReadValue,
  hashBytes,
  hashFields,
  kindOf,
} from '../dispatch/event-value.js';
import type { ExpiryCounters } from '../dispatch/counters.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import type { ResolvedOptions } from '../engine/options.js';
import { invalidOption } from '../errors/redis-expiry.error.js';

/** What a key of the test kit holds; without either, an empty string. */
export interface GivenValue {
  /** A string's text or bytes. Whatever else it is, the string is its JSON. */
  value?: unknown;
  /** The fields of a hash, in the place of a string. */
  hash?: Record<string, string>;
}

/**
 * What is read of a key a moment before its deadline, by the kit's clock at the deadline itself.
 * Throws `INVALID_OPTION_VALUE` and `INVALID_OPTION_HASH`.
 */
export function readValue({ value, hash }: GivenValue): ReadValue {
  if (hash === undefined)
    return { kind: 'string', bytes: bytesOf(value), age: 0 };
  if (value !== undefined)
    throw invalidOption('hash', hash, 'either a value or a hash');
  const isHash =
    typeof hash === 'object' &&
    hash !== null &&
    Object.values(hash).every((field) => typeof field === 'string');
  if (!isHash) throw invalidOption('hash', hash, 'an object of texts');
  return { kind: 'hash', bytes: hashBytes(Object.entries(hash)), age: 0 };
}

/** A value as an engine hands it to handlers: if one of them asks for it, and it is not too long, which is counted. */
export function asRead(
  value: ReadValue | undefined,
  handlers: readonly ExpiryHandler[],
  { values: { maxBytes } }: Pick<ResolvedOptions, 'values'>,
  counters: ExpiryCounters,
): ReadValue | undefined {
  const isAsked = handlers.some((each) => kindOf(each.value) === value?.kind);
  if (!value || !isAsked) return undefined;
  if (lengthOf(value) <= maxBytes) return value;
  counters.valuesTooLong++;
  return undefined;
}

/** Of a hash, its names and values. */
function lengthOf(value: ReadValue): number {
  return value.kind === 'string'
    ? value.bytes.length
    : Buffer.byteLength(Object.entries(hashFields(value)).flat().join(''));
}

function bytesOf(value: unknown): Buffer {
  if (value === undefined) return Buffer.alloc(0);
  if (typeof value === 'string') return Buffer.from(value);
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  const text = jsonOf(value);
  if (text !== undefined) return Buffer.from(text);
  throw invalidOption('value', value, 'a text, a Buffer, or what has a JSON');
}

/** Undefined for what has none: a function, a bigint, or an object that holds itself. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value) as string | undefined;
  } catch {
    return undefined;
  }
}
