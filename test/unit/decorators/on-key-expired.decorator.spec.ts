import { describe, expect, it } from 'vitest';
import { handlerMetadata } from '../../../lib/decorators/handler-metadata.js';
import { OnKeyExpired, type OnKeyExpiredOptions } from '../../../lib/index.js';

const patterns = (type: { prototype: object }, method = 'run') =>
  handlerMetadata(type.prototype, method).map(({ pattern }) => pattern);

const error = (code: string, ...parts: string[]) =>
  expect.objectContaining({
    name: 'RedisExpiryError',
    code,
    message: expect.stringMatching(parts.join('.*')),
  });

/** Replaces the method by one that calls it. */
const Wrap: MethodDecorator = (_target, _property, descriptor) => {
  const wrapped = descriptor.value as () => unknown;
  descriptor.value = function (this: unknown) {
    return wrapped.call(this);
  } as never;
};

describe('@OnKeyExpired', () => {
  it('leaves the method as it is', () => {
    class A {
      @OnKeyExpired('a')
      run(this: unknown) {
        return 'ran';
      }
    }

    expect(new A().run()).toBe('ran');
    expect(Object.keys(new A())).toEqual([]);
    expect(
      Object.getOwnPropertyDescriptor(A.prototype, 'run')!.enumerable,
    ).toBe(false);
  });

  it('keeps stacked ones in the order in which they are written', () => {
    class A {
      @OnKeyExpired('first', { concurrency: 1 })
      @OnKeyExpired('second')
      @OnKeyExpired('third')
      run() {}
    }

    expect(patterns(A)).toEqual(['first', 'second', 'third']);
    expect(
      handlerMetadata(A.prototype, 'run').map(({ options }) => options),
    ).toEqual([{ concurrency: 1 }, {}, {}]);
  });

  it('is found however another decorator wraps the method', () => {
    class A {
      @Wrap
      @OnKeyExpired('inside')
      run() {}

      @OnKeyExpired('outside')
      @Wrap
      walk() {}
    }

    expect(patterns(A)).toEqual(['inside']);
    expect(patterns(A, 'walk')).toEqual(['outside']);
  });

  it('goes with the method to subclasses, until one overrides it', () => {
    class Base {
      @OnKeyExpired('base')
      run() {}
    }
    class Heir extends Base {}
    class Silent extends Base {
      override run() {}
    }
    class Own extends Base {
      @OnKeyExpired('own')
      override run() {}
    }
    class Heirs extends Own {}

    expect(patterns(Heir)).toEqual(['base']);
    expect(patterns(Silent)).toEqual([]);
    expect(patterns(Own)).toEqual(['own']);
    expect(patterns(Heirs)).toEqual(['own']);
    expect(patterns(Base)).toEqual(['base']);
  });

  it('is found neither on other methods nor on null prototypes', () => {
    class A {
      @OnKeyExpired('a')
      run() {}
      walk() {}
    }

    expect(patterns(A, 'walk')).toEqual([]);
    expect(patterns(A, 'toString')).toEqual([]);
    expect(handlerMetadata(Object.create(null), 'run')).toEqual([]);
  });

  it.each([undefined, null, '', 5, {}, ['a'], /a/, Symbol('a')])(
    'refuses the pattern %o',
    (pattern) => {
      expect(() => OnKeyExpired(pattern as string)).toThrow(
        error('INVALID_PATTERN', 'pattern is', 'accepted:', 'glob'),
      );
    },
  );

  it.each<[option: string, code: string, options: unknown, shown: string]>([
    ['concurrency', 'CONCURRENCY', { concurrency: 0 }, '0'],
    ['concurrency', 'CONCURRENCY', { concurrency: -1 }, '-1'],
    ['concurrency', 'CONCURRENCY', { concurrency: 1.5 }, '1.5'],
    ['concurrency', 'CONCURRENCY', { concurrency: '2' }, '"2"'],
    ['concurrency', 'CONCURRENCY', { concurrency: Number.NaN }, 'NaN'],
    ['concurrency', 'CONCURRENCY', { concurrency: Infinity }, 'Infinity'],
    ['concurrency', 'CONCURRENCY', { concurrency: null }, 'null'],
    ['grace', 'GRACE', { grace: -1 }, '-1'],
    ['grace', 'GRACE', { grace: '10s' }, '"10s"'],
    ['grace', 'GRACE', { grace: 2 ** 31 }, '2147483648'],
    ['grace', 'GRACE', { grace: Number.NaN }, 'NaN'],
    ['grace', 'GRACE', { grace: null }, 'null'],
    ['timeout', 'TIMEOUT', { timeout: 0 }, '0'],
    ['timeout', 'TIMEOUT', { timeout: -1 }, '-1'],
    ['timeout', 'TIMEOUT', { timeout: '5s' }, '"5s"'],
    ['timeout', 'TIMEOUT', { timeout: Infinity }, 'Infinity'],
    ['timeout', 'TIMEOUT', { timeout: null }, 'null'],
    ['value', 'VALUE', { value: 'JSON' }, '"JSON"'],
    ['value', 'VALUE', { value: true }, 'true'],
    ['value', 'VALUE', { value: null }, 'null'],
    ['group', 'GROUP', { group: '' }, '""'],
    ['group', 'GROUP', { group: 'a b' }, '"a b"'],
    ['group', 'GROUP', { group: true }, 'true'],
    ['retry', 'RETRY', { retry: 3 }, '3'],
    ['retry.attempts', 'RETRY_ATTEMPTS', { retry: { attempts: 0 } }, '0'],
    ['retry.backoff', 'RETRY_BACKOFF', { retry: { backoff: -1 } }, '-1'],
    ['concurency', 'CONCURENCY', { concurency: 3 }, '3.*concurrency'],
    ['handler options', 'HANDLER_OPTIONS', null, 'null'],
    ['handler options', 'HANDLER_OPTIONS', 'all', '"all"'],
    ['handler options', 'HANDLER_OPTIONS', [], 'an array of 0'],
  ])('refuses the option %s: %s of %o', (option, code, options, shown) => {
    expect(() => OnKeyExpired('a', options as OnKeyExpiredOptions)).toThrow(
      error(`INVALID_OPTION_${code}`, `"${option}" is ${shown}`),
    );
  });

  it('takes group: false, and options that are undefined', () => {
    expect(() =>
      OnKeyExpired('a', {
        group: false,
        concurrency: undefined,
        retry: undefined,
      }),
    ).not.toThrow();
  });

  describe('refuses to decorate', () => {
    const decorate = OnKeyExpired('device:*') as (...args: unknown[]) => void;

    it.each<[what: string, define: () => unknown, property: string]>([
      ['a static method', defineStatic, 'offline'],
      ['a method named by a symbol', defineSymbol, 'Symbol\\(offline\\)'],
      ['an accessor', defineAccessor, 'offline'],
      ['a property', defineProperty, 'offline'],
      ['a class', () => decorate(OnKeyExpired), ''],
      ['a parameter', () => decorate({}, 'offline', 0), 'offline'],
    ])('%s', (_, define, property) => {
      expect(define).toThrow(
        error(
          'INVALID_HANDLER',
          '@OnKeyExpired\\("device:\\*"\\)',
          property,
          'accepted: a method',
        ),
      );
    });
  });
});

function defineStatic() {
  class A {
    @OnKeyExpired('device:*')
    static offline() {}
    online() {}
  }
  return A;
}

const symbol = Symbol('offline');

function defineSymbol() {
  class A {
    @OnKeyExpired('device:*')
    [symbol]() {}
  }
  return A;
}

// What TypeScript does not let pass, JavaScript does.

function defineAccessor() {
  class A {
    @(OnKeyExpired('device:*') as MethodDecorator)
    get offline() {
      return 1;
    }
  }
  return A;
}

function defineProperty() {
  class A {
    @(OnKeyExpired('device:*') as unknown as PropertyDecorator)
    offline = () => {};
  }
  return A;
}
