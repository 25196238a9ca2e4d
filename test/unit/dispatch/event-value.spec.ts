import { describe, expect, it } from 'vitest';
import {
  allKinds,
  hashBytes,
  kindOf,
  showValue,
} from '../../../lib/dispatch/event-value.js';

const read = (bytes: Buffer | string, kind: 'string' | 'hash' = 'string') => ({
  ...{ kind, bytes: Buffer.from(bytes), age: 7 },
});

describe('the value of an event', () => {
  it('is in the form that is asked for, and nothing where that is of another type', () => {
    const reasons: string[] = [];
    const show = (...args: Parameters<typeof read>) =>
      (['text', 'buffer', 'json', 'hash'] as const).map((form) =>
        showValue(read(...args), form, (reason) => reasons.push(reason)),
      );
    const valueAge = 7;

    expect(show('[1]')).toEqual([
      { value: '[1]', valueAge },
      { value: Buffer.from('[1]'), valueAge },
      { value: [1], valueAge },
      {},
    ]);
    expect(reasons).toEqual([]);
    expect(show('[1')[2]).toEqual({ valueText: '[1', valueAge });
    expect(reasons).toHaveLength(1);
    const fields = [
      ['__proto__', 'a'],
      ['ü', ''],
    ] as const;
    const [, , , { value } = {}] = show(hashBytes(fields), 'hash');
    expect(Object.entries(value as object)).toEqual(fields);
    expect(showValue(undefined, 'text', () => undefined)).toEqual({});
    expect(showValue(read('a'), undefined, () => undefined)).toEqual({});
  });

  it('is a copy for each handler', () => {
    const stored = read('abc');
    const shown = showValue(stored, 'buffer', () => undefined);
    (shown.value as Buffer).fill(0);

    expect(stored.bytes.toString()).toBe('abc');
  });

  it('is read of the types that all who ask for it ask for together', () => {
    expect(allKinds([])).toBeUndefined();
    expect(allKinds([undefined, 'hash', undefined])).toBe('hash');
    expect(allKinds(['hash', 'string'])).toBe('either');
    expect(allKinds(['either', 'string'])).toBe('either');
    const kinds = [undefined, 'text', 'buffer', 'json', 'hash'] as const;
    expect(kinds.map(kindOf)).toEqual([
      ...[undefined, 'string', 'string', 'string', 'hash'],
    ]);
  });
});
