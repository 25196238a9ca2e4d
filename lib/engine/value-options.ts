import type { ValueOptions } from '../deadlines/value-reader.js';
import type { ValueForm } from '../dispatch/event-value.js';
import { invalidOption } from '../errors/redis-expiry.error.js';
import type { RedisExpiryModuleOptions } from './module-options.js';
import { checkNames, count, wholeMs } from './option-checks.js';

const VALUE_FORMS: readonly unknown[] = ['text', 'buffer', 'json', 'hash'];
/** Bytes of a value, at most: it goes through the memory of an instance, and in a group through its stream. */
const MOST_VALUE_BYTES = 16 * 1024 * 1024;

/** The option `values`, checked and complete. Throws `INVALID_OPTION_…`. */
export function resolveValues(
  given: RedisExpiryModuleOptions['values'] = {},
): ValueOptions {
  checkNames(given, ['lead', 'maxBytes'], 'values');
  const maxBytes = count('values.maxBytes', given.maxBytes, 4_096);
  if (maxBytes > MOST_VALUE_BYTES)
    throw invalidOption(
      'values.maxBytes',
      maxBytes,
      `bytes from 1 to ${MOST_VALUE_BYTES}`,
    );
  return { lead: wholeMs('values.lead', given.lead, 20), maxBytes };
}

/** A handler's option `value`, checked. Throws `INVALID_OPTION_VALUE`. */
export function resolveForm(form: unknown): ValueForm | undefined {
  if (form !== undefined && !VALUE_FORMS.includes(form))
    throw invalidOption('value', form, "'text', 'buffer', 'json' or 'hash'");
  return form as ValueForm | undefined;
}

/** The options of `expirations()`, checked. Throws `INVALID_OPTION_…`. */
export function resolveExpirations(options: { value?: ValueForm } = {}): {
  readonly value: ValueForm | undefined;
} {
  checkNames(options, ['value'], 'expirations options');
  return { value: resolveForm(options.value) };
}
