import { describe, expect, it } from 'vitest';
import {
  RedisExpiryError,
  describeValue,
  invalidOption,
  reasonOf,
} from '../../../lib/errors/redis-expiry.error.js';

describe('RedisExpiryError', () => {
  it('is an Error with a code and a cause', () => {
    const cause = new Error('ECONNREFUSED');
    const error = new RedisExpiryError('CONNECT_FAILED', 'Not reached.', {
      cause,
    });

    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'RedisExpiryError',
      code: 'CONNECT_FAILED',
      message: 'Not reached.',
      cause,
    });
    expect(String(error)).toBe('RedisExpiryError: Not reached.');
  });

  it.each([
    ['name', 'NAME'],
    ['shutdownTimeout', 'SHUTDOWN_TIMEOUT'],
    ['connection.db', 'CONNECTION_DB'],
    ['punctual.scanInterval', 'PUNCTUAL_SCAN_INTERVAL'],
  ])('has a code of its own for the option %s', (option, suffix) => {
    expect(invalidOption(option, 1, 'two').code).toBe(
      `INVALID_OPTION_${suffix}`,
    );
  });

  it('names the option, what was given and what is accepted', () => {
    expect(invalidOption('name', 'a b', 'no spaces').message).toBe(
      'Option "name" is "a b"; accepted: no spaces.',
    );
  });
});

describe('describeValue', () => {
  it.each([
    ['text', '"text"'],
    ['a "b"\n', String.raw`"a \"b\"\n"`],
    [5, '5'],
    [Number.NaN, 'NaN'],
    [null, 'null'],
    [undefined, 'undefined'],
    [true, 'true'],
    [10n, '10'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 2], 'an array of 2'],
    [() => 1, 'a function'],
    [RedisExpiryError, 'a function'],
    [{}, '{}'],
    [{ host: 'h', password: 'secret' }, '{ host, password }'],
    [Object.create(null), '{}'],
  ])('shows %o as %s', (value, shown) => {
    expect(describeValue(value)).toBe(shown);
  });

  it('cuts what is long', () => {
    expect(describeValue('x'.repeat(10_000)).length).toBeLessThan(100);
    const keys = Array.from({ length: 1_000 }, (_, i) => [`key${i}`, i]);
    expect(describeValue(Object.fromEntries(keys)).length).toBeLessThan(100);
  });

  it.each([
    ['redis://user:secret@host/1', '"redis://user:***@host/1"'],
    ['redis://:secret@host', '"redis://:***@host"'],
    ['redis://host/1', '"redis://host/1"'],
  ])('hides the password of %s', (url, shown) => {
    expect(describeValue(url)).toBe(shown);
  });

  it('hides the password of a URL that is cut', () => {
    const url = `redis://user:${'secret'.repeat(50)}@host/1`;

    expect(describeValue(url)).not.toContain('secret');
  });
});

describe('reasonOf', () => {
  it.each([
    [new Error('why'), 'why'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [new AggregateError([new Error('a'), new Error('b')]), 'a; b'],
    [new AggregateError([], 'nothing in it'), 'nothing in it'],
  ])('of %o is %s', (error, reason) => {
    expect(reasonOf(error)).toBe(reason);
  });
});
