import { describe, expect, it } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { resolveOptions } from '../../../lib/engine/options.js';

type Row = [option: string, value: unknown, shown: string, accepted: string];

const resolve = (options: unknown) =>
  resolveOptions(options as RedisExpiryModuleOptions);

describe('resolveOptions', () => {
  it('fills in the defaults of the contract', () => {
    for (const options of [{}, { name: undefined, connection: undefined }]) {
      expect(resolve(options)).toMatchObject({
        namespace: 'rx',
        notifications: 'ensure',
        concurrency: 100,
        queueLimit: 500_000,
        shutdownTimeout: 10_000,
        name: 'redis-expiry',
        punctual: { scanInterval: 600_000, scanCount: 1_000 },
        group: undefined,
        retry: { attempts: 5 },
        leaseDuration: 30_000,
        deadLetters: { maxAge: 2_592_000_000, maxCount: 100_000 },
        renewals: 'auto',
        values: { lead: 20, maxBytes: 4_096 },
        enabled: true,
        enhancers: [],
        source: {
          target: {
            isCluster: false,
            database: 0,
            keyPrefix: '',
            lazyConnect: false,
            connectTimeout: 10_000,
            template: expect.any(Function),
          },
        },
      });
    }
  });

  it('takes every option that is offered', () => {
    const options = {
      enabled: false,
      enhancers: ['guards', 'interceptors', 'pipes', 'filters'],
      namespace: 'app:x',
      notifications: 'verify',
      concurrency: 1,
      queueLimit: 1,
      shutdownTimeout: 0,
      name: 'my-app/1',
      punctual: { scanInterval: 1_000, scanCount: 1 },
      group: 'mailers',
      leaseDuration: 100,
      deadLetters: { maxAge: 1, maxCount: 1 },
      renewals: 'heard',
      values: { lead: 1, maxBytes: 16_777_216 },
    };

    expect(
      resolve({ ...options, retry: { attempts: 1, backoff: 0 } }),
    ).toMatchObject({ ...options, retry: { attempts: 1 } });
    expect(resolve({ punctual: false }).punctual).toBeUndefined();
  });

  it('does not change what it was given', () => {
    const options = Object.freeze({ name: 'a', connection: 'redis://h' });

    resolve(options);

    expect(options).toEqual({ name: 'a', connection: 'redis://h' });
  });

  const notCounts: [value: unknown, shown: string][] = [
    [0, '0'],
    [-1, '-1'],
    [1.5, '1.5'],
    ['5', '"5"'],
    [Number.NaN, 'NaN'],
    [Infinity, 'Infinity'],
    [2 ** 53, '9007199254740992'],
    [null, 'null'],
    [true, 'true'],
    [[], 'an array of 0'],
  ];
  const notTexts: [value: unknown, shown: string][] = [
    ['', '""'],
    [5, '5'],
    [null, 'null'],
    [{ a: 1 }, '{ a }'],
    [() => 'a', 'a function'],
  ];

  const rows = (
    option: string,
    values: [value: unknown, shown: string][],
    accepted: string,
  ) => values.map(([value, shown]): Row => [option, value, shown, accepted]);

  it.each<Row>([
    ['enabled', 'yes', '"yes"', 'true or false'],
    ['enabled', null, 'null', 'true or false'],
    ['enhancers', 'guards', '"guards"', "an array of 'guards'"],
    ['enhancers', ['guards', 'guard'], '"guard"', "an array of 'guards'"],
    ['enhancers', null, 'null', "an array of 'guards'"],
    ...rows('concurrency', notCounts, 'a whole number from 1 on'),
    ...rows('queueLimit', notCounts, 'a whole number from 1 on'),
    ...rows('namespace', notTexts, 'a text that is not empty'),
    ...rows('name', notTexts, 'visible ASCII'),
    ['name', 'two words', '"two words"', 'visible ASCII'],
    ['name', 'a\nb', '"a\\\\nb"', 'visible ASCII'],
    ['name', 'é', '"é"', 'visible ASCII'],
    ['shutdownTimeout', -1, '-1', 'milliseconds from 0'],
    ['shutdownTimeout', Number.NaN, 'NaN', 'milliseconds from 0'],
    ['shutdownTimeout', Infinity, 'Infinity', 'milliseconds from 0'],
    ['shutdownTimeout', 2 ** 31, '2147483648', 'milliseconds from 0'],
    ['shutdownTimeout', '5s', '"5s"', 'milliseconds from 0'],
    ['shutdownTimeout', null, 'null', 'milliseconds from 0'],
    ['notifications', 'Ensure', '"Ensure"', "'ensure', 'verify' or 'off'"],
    ['notifications', '', '""', "'ensure', 'verify' or 'off'"],
    ['notifications', true, 'true', "'ensure', 'verify' or 'off'"],
    ['notifications', false, 'false', "'ensure', 'verify' or 'off'"],
    ['notifications', null, 'null', "'ensure', 'verify' or 'off'"],
    ['punctual', 'yes', '"yes"', 'true, false, or'],
    ['punctual', 0, '0', 'true, false, or'],
    ['punctual', null, 'null', 'true, false, or'],
    ['punctual', [], 'an array of 0', 'true, false, or'],
    ['punctual.scanInterval', 999, '999', 'milliseconds from 1000'],
    ['punctual.scanInterval', '1m', '"1m"', 'milliseconds from 1000'],
    ['punctual.scanInterval', Infinity, 'Infinity', 'milliseconds from 1000'],
    ...rows('punctual.scanCount', notCounts, 'a whole number from 1 on'),
    ['group', '', '""', 'a name without spaces and braces'],
    ['group', 'two words', '"two words"', 'a name without spaces and braces'],
    ['group', '{mailers}', '"{mailers}"', 'a name without spaces and braces'],
    ['group', 5, '5', 'a name without spaces and braces'],
    ['group', false, 'false', 'a name without spaces and braces'],
    ['group', null, 'null', 'a name without spaces and braces'],
    ['renewals', 'never', '"never"', "'auto' or 'heard'"],
    ['renewals', false, 'false', "'auto' or 'heard'"],
    ['renewals', null, 'null', "'auto' or 'heard'"],
    ['retry', 3, '3', 'an object'],
    ['retry', null, 'null', 'an object'],
    ['retry', [], 'an array of 0', 'an object'],
    ...rows('retry.attempts', notCounts, 'a whole number from 1 on'),
    ['retry.backoff', -1, '-1', 'milliseconds from 0'],
    ['retry.backoff', Number.NaN, 'NaN', 'milliseconds from 0'],
    ['retry.backoff', '1s', '"1s"', 'milliseconds from 0'],
    ['retry.backoff', null, 'null', 'milliseconds from 0'],
    ['deadLetters', false, 'false', 'an object'],
    ['deadLetters', null, 'null', 'an object'],
    ...rows('deadLetters.maxCount', notCounts, 'a whole number from 1 on'),
    ...rows('deadLetters.maxAge', notCounts, 'whole milliseconds from 1 on'),
    ['values', true, 'true', 'an object'],
    ['values', null, 'null', 'an object'],
    ...rows('values.maxBytes', notCounts, 'a whole number from 1 on'),
    ['values.maxBytes', 16_777_217, '16777217', 'bytes from 1 to 16777216'],
    ...rows('values.lead', notCounts, 'whole milliseconds from 1 on'),
    ['telemetry', 'otel', '"otel"', 'an object'],
    ['telemetry', null, 'null', 'an object'],
    ['telemetry.process', true, 'true', 'a function'],
    ['telemetry.observe', null, 'null', 'a function'],
    ['leaseDuration', 0, '0', 'milliseconds from 100'],
    ['leaseDuration', Number.NaN, 'NaN', 'milliseconds from 100'],
    ['leaseDuration', 2 ** 31, '2147483648', 'milliseconds from 100'],
    ['leaseDuration', '30s', '"30s"', 'milliseconds from 100'],
    ['connection', 5, '5', 'a URL'],
    ['connection', null, 'null', 'a URL'],
    ['connection', 'localhost', '"localhost"', 'a URL'],
    ['conection', 'redis://h', '"redis://h"', 'no such option.*connection'],
    ['isGlobal', true, 'true', 'no such option'],
    ['options', 'redis://h', '"redis://h"', 'an object'],
    ['options', undefined, 'undefined', 'an object'],
    ['options', null, 'null', 'an object'],
    ['options', 5, '5', 'an object'],
    ['options', [], 'an array of 0', 'an object'],
  ])('refuses %s: %o', (option, value, shown, accepted) => {
    const [outer, inner] = option.split('.') as [string, string?];
    const given =
      option === 'options'
        ? value
        : { [outer]: inner === undefined ? value : { [inner]: value } };
    expect(() => resolve(given)).toThrow(
      expect.objectContaining({
        name: 'RedisExpiryError',
        code: `INVALID_OPTION_${capitals(option)}`,
        message: expect.stringMatching(
          `^Option "${option}" is ${escape(shown)}; accepted: ${accepted}`,
        ),
      }),
    );
  });

  it('refuses a group together with punctual: false', () => {
    expect(() => resolve({ group: 'mailers', punctual: false })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION_PUNCTUAL',
        message: expect.stringMatching(/"punctual" is false;.*group/),
      }),
    );
  });
});

/** As users write the name of an option in its error's code. */
const capitals = (option: string) =>
  option.replaceAll('.', '_').replace(/[A-Z]/g, '_$&').toUpperCase();

/** A text as a regular expression that matches just it, but for `\`. */
const escape = (text: string) => text.replace(/[.*+?^${}()|[\]]/g, '\\$&');
