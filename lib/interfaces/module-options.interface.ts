import type { ConfigurableModuleAsyncOptions } from '@nestjs/common';
import type { RedisExpiryModuleOptions } from '../engine/module-options.js';

/** What a class given as `useClass` or `useExisting` must offer. */
export interface RedisExpiryOptionsFactory {
  createRedisExpiryOptions():
    RedisExpiryModuleOptions | Promise<RedisExpiryModuleOptions>;
}

/** Options of `RedisExpiryModule.forRootAsync()`: one of `useFactory`, `useClass` and `useExisting`. */
export interface RedisExpiryModuleAsyncOptions extends ConfigurableModuleAsyncOptions<
  RedisExpiryModuleOptions,
  'createRedisExpiryOptions'
> {
  /** Makes the subscriber injectable everywhere. @default false */
  isGlobal?: boolean;
}
