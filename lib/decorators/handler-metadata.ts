import 'reflect-metadata';
import {
  RedisExpiryError,
  describeValue,
} from '../errors/redis-expiry.error.js';
import type {
  OnKeyExpiredOptions,
  OnKeyExpiringOptions,
} from '../dispatch/handler-options.js';

/** What one decorator of this module says of its method. */
export type HandlerMetadata =
  | {
      readonly kind: 'expired';
      readonly pattern: string;
      readonly options: OnKeyExpiredOptions;
    }
  | {
      readonly kind: 'expiring';
      readonly pattern: string;
      readonly options: OnKeyExpiringOptions;
    };

const METADATA = Symbol.for('nestjs-redis-expiry:on-key-expired');

/** The key of the metadata by which Nest has pipes applied to a handler's parameter. */
export const HANDLER_PARAMS = 'nestjs-redis-expiry:params';
/** The event, as a body is described: by `RouteParamtypes.BODY` and its index. So a `ValidationPipe` looks at its class, if it has one. */
const EVENT_PARAM = { '3:0': { index: 0, pipes: [] } };

/**
 * Decorates a method as a handler. Throws `INVALID_HANDLER` for what is no method of an instance.
 *
 * @param decorator its name, for the error
 */
export function decorateHandler(
  decorator: string,
  metadata: HandlerMetadata,
): MethodDecorator {
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
        `@${decorator}(${describeValue(metadata.pattern)}) decorates ${String(property)}; accepted: a method of an instance, named by a string.`,
      );
    }
    // Kept beside the method and not on its function, which another decorator may replace.
    const stacked = ownMetadata(target, property);
    Reflect.defineMetadata(METADATA, [metadata, ...stacked], target, property);
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
export function handlerMetadata(
  prototype: object,
  method: string,
): readonly HandlerMetadata[] {
  for (
    let owner: object | null = prototype;
    owner;
    owner = Object.getPrototypeOf(owner) as object | null
  ) {
    if (Object.hasOwn(owner, method)) return ownMetadata(owner, method);
  }
  return [];
}

const ownMetadata = (target: object, method: string): HandlerMetadata[] =>
  (Reflect.getOwnMetadata(METADATA, target, method) as
    HandlerMetadata[] | undefined) ?? [];
