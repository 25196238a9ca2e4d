import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { RedisExpiryModuleOptions } from './engine/module-options.js';

/** The token of the options, checked and complete. */
export const RESOLVED_OPTIONS = Symbol('RedisExpiryResolvedOptions');

/** `forRoot` and `forRootAsync`, and the token of the options that they are given. */
export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<RedisExpiryModuleOptions>({
    moduleName: 'RedisExpiry',
  })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createRedisExpiryOptions')
    .setExtras({ isGlobal: false }, (definition, { isGlobal }) => ({
      ...definition,
      global: isGlobal,
    }))
    .build();
