/** This library: a Nest application with one handler and, but for what it is told, default options. */
import 'reflect-metadata';
import { performance } from 'node:perf_hooks';
import { NestFactory } from '@nestjs/core';
import {
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from '../../../dist/index.js';
import { numberOf, serve } from './child.mjs';

serve(async ({ port, cluster, group, concurrency, value }, handled) => {
  let valued = 0;
  class Handlers {
    /** @param {import('../../../dist/index.js').KeyExpiredEvent} event */
    onExpired({ key, value: read }) {
      if (read !== undefined) valued++;
      handled(numberOf(key));
    }
  }
  OnKeyExpired('due:*', value ? { value } : {})(
    Handlers.prototype,
    'onExpired',
    Object.getOwnPropertyDescriptor(Handlers.prototype, 'onExpired') ?? {},
  );

  const began = performance.now();
  const app = await NestFactory.createApplicationContext(
    {
      // Whatever class: a module has to have one.
      module: Handlers,
      imports: [
        RedisExpiryModule.forRoot({
          connection: cluster
            ? { nodes: [{ host: '127.0.0.1', port }] }
            : `redis://127.0.0.1:${port}`,
          ...(group !== undefined && { group }),
          ...(concurrency !== undefined && { concurrency }),
        }),
      ],
      providers: [Handlers],
    },
    { logger: ['warn', 'error'] },
  );
  const subscriber = app.get(RedisExpirySubscriber, { strict: false });
  await subscriber.ready();
  const readyAfter = performance.now() - began;
  return {
    started: { readyAfter, status: subscriber.status() },
    status: () => ({ ...subscriber.status(), valued }),
    stop: () => app.close(),
  };
});
