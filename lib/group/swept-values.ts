import type { ValueMemory } from '../deadlines/value-memory.js';
import type { ReadValue } from '../dispatch/event-value.js';
import { toStored } from './stored-event.js';

/** The value of a key that is looked at. */
export interface SweptValue {
  /** Of the key, among those that are looked at. */
  readonly place: number;
  /** The deadline of the life that it is of. */
  readonly deadline: number;
  readonly value: ReadValue;
}

/** What was read of keys, which are told in latin1. */
export function valuesFor(
  memory: ValueMemory,
  texts: readonly string[],
): SweptValue[] {
  if (memory.size === 0) return [];
  return texts.flatMap((text, place) => {
    const { deadline, value } = memory.get(text) ?? {};
    return value && deadline ? [{ place, deadline, value }] : [];
  });
}

/** What SWEEP is told of values: of each key whether it has one, and the words of those. */
export function wordsOf(
  values: readonly SweptValue[],
  keyCount: number,
): { readonly valued: string; readonly words: (number | Buffer)[] } {
  if (values.length === 0) return { valued: '', words: [] };
  const valued = new Array<string>(keyCount).fill('0');
  for (const { place } of values) valued[place] = '1';
  return {
    valued: valued.join(''),
    words: values.flatMap(({ deadline, value }) => [deadline, toStored(value)]),
  };
}

/** Forgets the values of lives that have ended, by what SWEEP found of their keys at a moment of Redis's clock. */
export function forgetEnded(
  memory: ValueMemory,
  texts: readonly string[],
  codes: string,
  now: number,
): void {
  if (memory.size === 0) return;
  texts.forEach((text, i) => {
    const { deadline = 0 } = memory.get(text) ?? {};
    const lives = codes[i] === 'a' && deadline >= now;
    if (!lives && codes[i] !== '?') memory.forget(text);
  });
}
