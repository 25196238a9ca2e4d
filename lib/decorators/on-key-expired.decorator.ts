import 'reflect-metadata';
import {
  RedisExpiryError,
  describeValue,
} from '../errors/redis-expiry.error.js';
import type { OnKeyExpiredOptions } from '../dispatch/handler-options.js';
import { resolveHandlerOptions } from '../engine/options.js';

/** What one `@OnKeyExpired` says of its method. */
export interface OnKeyExpiredMetadata {
  readonly pattern: string;
  readonly options: OnKeyExpiredOptions;
}

const METADATA = Symbol.for('nestjs-redis-expiry:on-key-expired');

/** The key of the metadata by which Nest has pipes applied to a handler's parameter. */
export const HANDLER_PARAMS = 'nestjs-redis-expiry:params';
/** The event, as a body is described: by `RouteParamtypes.BODY` and its index. So a `ValidationPipe` looks at its class, if it has one. */
const EVENT_PARAM = { '3:0': { index: 0, pipes: [] } };

/**
 * Runs the method when a key that matches the pattern expires. The method gets one argument, a
 * `KeyExpiredEvent`; a promise or an Observable that it returns is awaited, and what it throws is
 * logged. May be stacked.
 *
 * @param pattern a Redis glob: `*` any text, `?` one byte, `[a-c]` and `[^x]` a byte of a set,
 *   `\*` the character itself. Without the connection's `keyPrefix`.
 * @throws RedisExpiryError `INVALID_PATTERN`, `INVALID_HANDLER`, `INVALID_OPTION_…`, when the class is defined
 *
 * @example
 * ```ts
 * @OnKeyExpired('device:*')
 * async onOffline({ key, deadline }: KeyExpiredEvent) {
 *   await this.devices.markOffline(key, deadline);
 * }
 * ```
 */
export function OnKeyExpired(
  pattern: string,
  options: OnKeyExpiredOptions = {},
): MethodDecorator {
  checkPattern(pattern);
  resolveHandlerOptions(options);
  return (
    target: object,
    property: string | symbol,
    descriptor?: PropertyDescriptor,
  ) => {
    if (
      typeof target === 'function' ||
      typeof descriptor?.value !== 'function' ||
      typeof property !== 'string'
    ) {
      throw new RedisExpiryError(
        'INVALID_HANDLER',
        `@OnKeyExpired(${describeValue(pattern)}) decorates ${String(property)}; accepted: a method of an instance, named by a string.`,
      );
    }
    // Kept beside the method and not on its function, which another decorator may replace.
    const stacked = ownMetadata(target, property);
    Reflect.defineMetadata(
      METADATA,
      [{ pattern, options }, ...stacked],
      target,
      property,
    );
    Reflect.defineMetadata(
      HANDLER_PARAMS,
      EVENT_PARAM,
      target.constructor,
      property,
    );
  };
}

/** Throws `INVALID_PATTERN` for what is not a usable glob. */
export function checkPattern(pattern: unknown, what = 'The pattern'): void {
  if (typeof pattern !== 'string' || pattern === '') {
    throw new RedisExpiryError(
      'INVALID_PATTERN',
      `${what} is ${describeValue(pattern)}; accepted: a Redis glob that is not empty, as in 'device:*'.`,
    );
  }
}

/** The decorations of a method, in the order in which they are written, as of the class that defines it. */
export function onKeyExpiredMetadata(
  prototype: object,
  method: string,
): readonly OnKeyExpiredMetadata[] {
  for (
    let owner: object | null = prototype;
    owner;
    owner = Object.getPrototypeOf(owner) as object | null
  ) {
    if (Object.hasOwn(owner, method)) return ownMetadata(owner, method);
  }
  return [];
}

const ownMetadata = (target: object, method: string): OnKeyExpiredMetadata[] =>
  (Reflect.getOwnMetadata(METADATA, target, method) as
    OnKeyExpiredMetadata[] | undefined) ?? [];
