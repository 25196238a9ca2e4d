import {
  RedisExpiryError,
  describeValue,
  invalidOption,
} from '../errors/redis-expiry.error.js';
import type { KeyToArm } from '../group/armed-keys.js';
import { checkNames } from './option-checks.js';
import { resolveGroup } from './options.js';

/** A hundred years. */
const LONGEST_TTL_MS = 3_155_760_000_000;
const TTL_ACCEPTED = `whole milliseconds from 1 to ${LONGEST_TTL_MS}`;
const VALUE_ACCEPTED = 'a string or a Buffer';

/** How a key is armed. */
export interface ArmOptions {
  /** Ms until it runs out, from 1 on, by Redis's clock. */
  readonly ttl: number;
  /** What the key holds. @default '' */
  readonly value?: string | Buffer;
  /** The group that is to know it. @default the module's */
  readonly group?: string;
}

/** One key of `armMany`. */
export interface ArmEntry extends ArmOptions {
  /** Without the connection's `keyPrefix`. */
  readonly key: string | Buffer;
}

/** How a key is renewed. */
export interface RenewOptions {
  /** Ms until it runs out, from 1 on, by Redis's clock. */
  readonly ttl: number;
  /** What the key holds from now on. @default what it holds */
  readonly value?: string | Buffer;
  /** The group that is to know it. @default the module's */
  readonly group?: string;
}

/** For which group something is done. */
export interface KeyGroup {
  /** @default the module's */
  readonly group?: string;
}

/** A key's bytes. Throws `INVALID_OPTION_KEY`. */
export function readKey(key: unknown): Buffer {
  if (Buffer.isBuffer(key)) return key;
  if (typeof key !== 'string')
    throw invalidOption('key', key, 'a string or a Buffer');
  return Buffer.from(key);
}

/** What of a group's name is given beside keys. Throws `INVALID_OPTION_…`. */
export function readKeyGroup(options: KeyGroup): string | undefined {
  checkNames(options, ['group'], 'key options');
  return resolveGroup(options.group);
}

/** How a key is to be armed, checked. Throws `INVALID_OPTION_…`. */
export function readArming(
  key: unknown,
  options: ArmOptions,
): KeyToArm & { readonly group: string | undefined } {
  return { ...readRenewal(key, options), value: options.value ?? '' };
}

/** How a key is to be renewed, checked. Throws `INVALID_OPTION_…`. */
export function readRenewal(
  key: unknown,
  options: RenewOptions,
): Omit<KeyToArm, 'value'> & {
  readonly value: string | Buffer | undefined;
  readonly group: string | undefined;
} {
  checkNames(options, ['ttl', 'value', 'group'], 'key options');
  const { ttl, value, group } = options;
  if (!Number.isSafeInteger(ttl) || ttl < 1 || ttl > LONGEST_TTL_MS)
    throw invalidOption('ttl', ttl, TTL_ACCEPTED);
  const isValue = typeof value === 'string' || Buffer.isBuffer(value);
  if (value !== undefined && !isValue)
    throw invalidOption('value', value, VALUE_ACCEPTED);
  return { key: readKey(key), ttl, value, group: resolveGroup(group) };
}

/** The entries of `armMany`, checked. Throws `INVALID_OPTION_…`, whose message says which entry it is. */
export function readEntries(
  entries: readonly ArmEntry[],
): ReturnType<typeof readArming>[] {
  if (!Array.isArray(entries))
    throw invalidOption('entries', entries, 'an array of { key, ttl, value }');
  return entries.map((entry: unknown, i) => {
    try {
      if (typeof entry !== 'object' || entry === null)
        throw invalidOption('entries', entry, 'objects { key, ttl, value }');
      const { key, ...options } = entry as ArmEntry;
      return readArming(key, options);
    } catch (error) {
      if (!(error instanceof RedisExpiryError)) throw error;
      throw new RedisExpiryError(error.code, `Entry ${i}: ${error.message}`);
    }
  });
}

/** The keys of `enrol`, checked. Throws `INVALID_OPTION_KEYS`, `INVALID_OPTION_KEY`. */
export function readKeys(keys: readonly (string | Buffer)[]): Buffer[] {
  if (!Array.isArray(keys))
    throw invalidOption('keys', keys, 'an array of keys');
  return keys.map((key: unknown, i) => {
    if (typeof key !== 'string' && !Buffer.isBuffer(key))
      throw new RedisExpiryError(
        'INVALID_OPTION_KEY',
        `Key ${i} is ${describeValue(key)}; accepted: a string or a Buffer.`,
      );
    return readKey(key);
  });
}
