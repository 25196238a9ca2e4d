import { describe, expect, it } from 'vitest';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { WantedValues } from '../../../lib/listening/wanted-values.js';

const glob = (pattern: string) => new RedisGlob(pattern);
const key = (text: string) => Buffer.from(text);

describe('WantedValues', () => {
  it('tells for each key what all who ask for its value ask for together', () => {
    const values = new WantedValues();
    expect([values.kinds, values.example]).toEqual([undefined, undefined]);
    const [one, two, three] = [{}, {}, {}];
    values.add(glob('a:*'), one, 'string');
    values.add(glob('a:*'), two, 'hash');
    values.add(glob('*:1'), three, 'string');

    expect(values.kinds).toBe('either');
    expect(values.example).toBe('a:*');
    const kinds = ['a:1', 'a:2', 'b:1', 'b:2'].map((k) =>
      values.kindsOf(key(k)),
    );
    expect(kinds).toEqual(['either', 'either', 'string', undefined]);

    values.remove(glob('a:*'), one);
    values.remove(glob('a:*'), {});
    values.remove(glob('b:*'), one);
    expect(values.kindsOf(key('a:1'))).toBe('either');
    expect(values.kindsOf(key('a:2'))).toBe('hash');

    values.remove(glob('a:*'), two);
    expect(values.kindsOf(key('a:2'))).toBeUndefined();
    expect(values.kinds).toBe('string');
    values.remove(glob('*:1'), three);
    expect(values.kinds).toBeUndefined();
  });
});
