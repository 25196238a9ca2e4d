import { reasonOf } from '../errors/redis-expiry.error.js';

/** In which form a handler asks for the value that a key had. */
export type ValueForm = 'text' | 'buffer' | 'json' | 'hash';

/** Which types of keys the values are read of. */
export type ValueKinds = 'string' | 'hash' | 'either';

/** A value as it was read a moment before its key's deadline. */
export interface ReadValue {
  readonly kind: 'string' | 'hash';
  /** The bytes of a string; of a hash its fields, as the JSON of an object of texts. */
  readonly bytes: Buffer;
  /** Ms from the reading to the deadline. */
  readonly age: number;
}

/** What an event says of the value. */
export interface ShownValue {
  readonly value?: unknown;
  readonly valueAge?: number;
  readonly valueText?: string;
}

/** The type of keys that a form is of; undefined where no value is asked for. */
export function kindOf(
  form: ValueForm | undefined,
): 'string' | 'hash' | undefined {
  if (form === undefined) return undefined;
  return form === 'hash' ? 'hash' : 'string';
}

/** What is to be read for several who ask. */
export const allKinds = (
  kinds: Iterable<ValueKinds | undefined>,
): ValueKinds | undefined => {
  let all: ValueKinds | undefined;
  for (const each of kinds)
    if (each !== undefined)
      all = all === undefined || all === each ? each : 'either';
  return all;
};

/** The fields of a hash, as the bytes of a `ReadValue`. What is no UTF-8 in them is replaced, as in a text. */
export const hashBytes = (fields: Iterable<readonly [string, string]>) =>
  Buffer.from(JSON.stringify(Object.fromEntries(fields)));

/** The fields of a hash that was read. */
export const hashFields = ({ bytes }: ReadValue): Record<string, string> =>
  JSON.parse(bytes.toString()) as Record<string, string>;

/**
 * Shows a value in the form that a handler asks for: nothing where there is none, or one of another type. What
 * it shows is the handler's own: another handler gets another copy.
 *
 * @param onUnreadable is told why a text is no JSON
 */
export function showValue(
  read: ReadValue | undefined,
  form: ValueForm | undefined,
  onUnreadable: (reason: string) => void,
): ShownValue {
  if (!read || kindOf(form) !== read.kind) return {};
  const { bytes, age: valueAge } = read;
  if (form === 'hash') return { value: hashFields(read), valueAge };
  if (form === 'buffer') return { value: Buffer.from(bytes), valueAge };
  const text = bytes.toString();
  if (form === 'text') return { value: text, valueAge };
  try {
    return { value: JSON.parse(text) as unknown, valueAge };
  } catch (error) {
    onUnreadable(reasonOf(error));
    return { valueText: text, valueAge };
  }
}
