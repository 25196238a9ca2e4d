import { describe, expect, it } from 'vitest';
import { RedisGlob, escapeGlob } from '../../../lib/dispatch/redis-glob.js';
import { Random } from '../../support/random.js';

const matches = (pattern: string, key: string | Buffer): boolean =>
  new RedisGlob(pattern).test(Buffer.from(key));

const captures = (pattern: string, key: string): string[] | undefined =>
  new RedisGlob(pattern).captures(Buffer.from(key));

describe('RedisGlob.test', () => {
  it.each([
    // pattern, matches, does not match
    ['device:42', ['device:42'], ['device:4', 'device:421', 'Device:42', '']],
    ['*', ['', 'a', '\n', 'a:b'], []],
    ['**', ['', 'a', 'ab'], []],
    ['device:*', ['device:', 'device:42', 'device:a:b'], ['device', 'devices']],
    ['*:online', [':online', 'a:online', ':online:online'], ['a:onlinex']],
    ['a*b*c', ['abc', 'aXbYc', 'abbcc', 'abcbc'], ['acb', 'ab', 'abcd']],
    ['a?c', ['abc', 'a*c', 'a\nc'], ['ac', 'abbc']],
    ['??', ['ab', 'é'], ['a', 'abc', '']],
    ['[abc]', ['a', 'b', 'c'], ['d', 'ab', '']],
    ['[a-c]x', ['ax', 'bx', 'cx'], ['dx', '-x', 'x']],
    ['[c-a]x', ['ax', 'bx', 'cx'], ['dx', '-x']],
    ['[^a]', ['b', '^', ']'], ['a', '']],
    ['[a^]', ['a', '^'], ['b']],
    ['[^^]', ['a'], ['^']],
    // Behind `a-` comes the end of a range, whatever it is: here that is from `]` to `a`.
    ['[a-]', [']', '^', '_', 'a'], ['-', 'b', '[a-]']],
    ['[a-]b]', ['a', ']', 'b'], ['-', 'ab', 'a]', 'ab]', 'c']],
    ['[-a]', ['a', '-'], ['b']],
    ['[a\\-c]', ['a', '-', 'c'], ['b', '\\']],
    ['[\\]]', [']'], ['\\', '']],
    ['[]a', [], ['', 'a', ']', ']a']],
    ['[^]a', ['xa', ']a'], ['a', 'x']],
    ['[', [], ['[', '', 'a']],
    ['[a', ['a'], ['[a', '', 'b']],
    ['[ab', ['a', 'b'], ['ab']],
    ['[^', ['^', 'a'], ['']],
    ['[a-', ['a', '-'], ['b']],
    ['[a\\', ['a', '\\'], ['b', '']],
    ['\\*', ['*'], ['a', '', '\\*']],
    ['a\\?b\\[c\\]', ['a?b[c]'], ['axb[c]', 'a\\?b\\[c\\]']],
    ['\\\\', ['\\'], ['\\\\', '']],
    ['a\\', ['a\\'], ['a', 'a\\\\']],
    ['\\a', ['a'], ['\\a']],
    ['a]', ['a]'], ['a']],
    ['a-b', ['a-b'], ['ab']],
    ['^a', ['^a'], ['a']],
    ['*[0-9]', ['a1', '1'], ['a', '1a', '']],
    ['*\\**', ['*', 'a*b'], ['ab', '']],
  ])('%s', (pattern, yes, no) => {
    expect(yes.filter((key) => !matches(pattern, key))).toEqual([]);
    expect(no.filter((key) => matches(pattern, key))).toEqual([]);
  });

  it('matches bytes, not characters', () => {
    expect(matches('?', 'é')).toBe(false);
    expect(matches('[é]', Buffer.from([0xc3]))).toBe(true);
    expect(matches('[é]', Buffer.from([0xa9]))).toBe(true);
    expect(matches('[é]', 'é')).toBe(false);
    expect(matches('k?', Buffer.from([0x6b, 0xff]))).toBe(true);
    expect(matches('k*', Buffer.from([0x6b, 0x00, 0xff, 0x0a]))).toBe(true);
  });

  it('is not fooled by one that has other bytes than it had text', () => {
    // U+FFFD is what decoding gives for an invalid byte; as a pattern it is three bytes of its own.
    expect(matches('\ufffd', Buffer.from([0xff]))).toBe(false);
  });

  it.each([
    ['a*a*a*a*b', 'a'.repeat(20_000)],
    ['*a*a*a*a*a*a*a*a*b', 'a'.repeat(20_000)],
    [`${'*a'.repeat(200)}b`, 'a'.repeat(5_000)],
    [`${'*[ab]'.repeat(50)}c`, 'ab'.repeat(5_000)],
  ])('does not explode on %s', (pattern, key) => {
    const start = performance.now();

    expect(matches(pattern, key)).toBe(false);
    expect(captures(pattern, key)).toBeUndefined();

    // Backtracking over every star would take longer than the universe has.
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe('RedisGlob.captures', () => {
  it.each<[pattern: string, key: string, expected: string[] | undefined]>([
    ['device:*', 'device:42', ['42']],
    ['device:*', 'device:', ['']],
    ['device:*', 'other:42', undefined],
    ['device:42', 'device:42', []],
    ['device:?[0-9]', 'device:42', []],
    ['*', '', ['']],
    ['*', 'a:b\nc', ['a:b\nc']],
    ['**', 'ab', ['', 'ab']],
    ['*:*', 'a:b:c', ['a', 'b:c']],
    ['*:*:*', 'a:b:c', ['a', 'b', 'c']],
    ['*:*:*', '::', ['', '', '']],
    ['user:*:device:*', 'user:7:device:42', ['7', '42']],
    ['user:*:device:*', 'user::device:', ['', '']],
    ['*:online', ':online:online', [':online']],
    ['*a*a', 'aaaa', ['', 'aa']],
    ['*ab', 'aabab', ['aab']],
    ['*?', 'abc', ['ab']],
    ['?*', 'abc', ['bc']],
    ['*[0-9]*', 'ab12', ['ab', '2']],
    ['\\**', '*x', ['x']],
    ['a\\*', 'a*', []],
    ['dévice:*', 'dévice:ü', ['ü']],
  ])('%s on %j', (pattern, key, expected) => {
    expect(captures(pattern, key)).toEqual(expected);
  });

  it('gives each star as little as it can, the first one first', () => {
    const random = new Random(7);
    for (let round = 0; round < 3_000; round++) {
      const pattern = random.some(['a', 'b', '?', '*', '*'], 0, 7).join('');
      const key = random.some(['a', 'b'], 0, 8).join('');

      expect([pattern, key, captures(pattern, key)]).toEqual([
        pattern,
        key,
        leastCaptures(pattern, key),
      ]);
    }
  });
});

describe('RedisGlob.prefix', () => {
  it.each([
    ['device:42', 'device:42'],
    ['device:*', 'device:'],
    ['de?ice:*', 'de'],
    ['a[bc]d', 'a'],
    ['a\\*b*', 'a*b'],
    ['a\\', 'a\\'],
    ['*', ''],
    ['é*', 'é'],
  ])('of %j is %j', (pattern, prefix) => {
    expect(new RedisGlob(pattern).prefix.toString()).toBe(prefix);
  });
});

describe('escapeGlob', () => {
  it.each(['a*b[c]:', 'a?b', '\\', '\\*', '[^a-z]', ']', '', 'é*'])(
    'makes a pattern of %j that matches just it',
    (text) => {
      const others = [`${text}x`, `x${text}`, text.replace(/./, 'y')];

      expect(matches(escapeGlob(text), text)).toBe(true);
      expect(
        others.filter(
          (other) => other !== text && matches(escapeGlob(text), other),
        ),
      ).toEqual([]);
    },
  );
});

/** What the stars of a pattern take, by trying the shortest first: slow, and plain enough to be right. */
function leastCaptures(pattern: string, key: string): string[] | undefined {
  if (pattern === '') return key === '' ? [] : undefined;
  const rest = pattern.slice(1);
  if (pattern.startsWith('*')) {
    for (let length = 0; length <= key.length; length++) {
      const others = leastCaptures(rest, key.slice(length));
      if (others) return [key.slice(0, length), ...others];
    }
    return undefined;
  }
  if (key === '' || (pattern[0] !== '?' && pattern[0] !== key[0]))
    return undefined;
  return leastCaptures(rest, key.slice(1));
}
