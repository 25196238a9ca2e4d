import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { RedisExpiryModuleOptions } from './engine/module-options.js';

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
