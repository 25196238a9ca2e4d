import {
  type CallHandler,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  type PipeTransform,
  Scope,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { APP_GUARD, APP_PIPE, NestFactory, REQUEST } from '@nestjs/core';
import { Redis } from 'ioredis';
import { strict as assert } from 'node:assert';
import { type Observable, map } from 'rxjs';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
  RedisExpirySubscriber,
} from 'nestjs-redis-expiry';
import { redisUrl } from './app.module.js';

const ran: string[] = [];

@Injectable({ scope: Scope.REQUEST })
class Guard implements CanActivate {
  constructor(@Inject(REQUEST) private readonly event: KeyExpiredEvent) {}

  canActivate(context: ExecutionContext): boolean {
    ran.push(`${context.getType<string>()} guard of ${this.event.key}`);
    return true;
  }
}

@Injectable()
class Pipe implements PipeTransform<KeyExpiredEvent> {
  transform(event: KeyExpiredEvent) {
    return { ...event, key: `piped ${event.key}` };
  }
}

@Injectable()
class Interceptor implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
    ran.push('interceptor');
    return next.handle().pipe(map((result) => result));
  }
}

@Catch(RangeError)
class Filter implements ExceptionFilter {
  catch(error: Error): void {
    ran.push(`filter of ${error.message}`);
  }
}

@Injectable()
class Broken {
  @OnKeyExpired('broken:*')
  @UseInterceptors(Interceptor)
  @UseFilters(Filter)
  onExpired({ key }: KeyExpiredEvent): void {
    throw new RangeError(key);
  }
}

@Module({
  imports: [
    RedisExpiryModule.forRoot({
      connection: () => Promise.resolve(redisUrl),
      enhancers: ['guards', 'interceptors', 'pipes', 'filters'],
    }),
  ],
  providers: [
    Broken,
    { provide: APP_GUARD, useClass: Guard, scope: Scope.REQUEST },
    { provide: APP_PIPE, useClass: Pipe },
  ],
})
class EnhancedModule {}

/** Enhancers of every kind apply, in an application without HTTP, and by this version of Nest. */
export async function appliesEnhancers(): Promise<void> {
  const app = await NestFactory.createApplicationContext(EnhancedModule, {
    logger: ['error', 'warn'],
  });
  const redis = new Redis(redisUrl);
  await redis.set('broken:1', '', 'PX', 20);
  const subscriber = app.get(RedisExpirySubscriber, { strict: false });
  for (const end = Date.now() + 10_000; ;) {
    const { handled, failed } = subscriber.status().counters;
    if (handled + failed > 0) break;
    assert(Date.now() < end, ran.join());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(ran, [
    'redis-expiry guard of broken:1',
    'interceptor',
    'filter of piped broken:1',
  ]);
  assert.equal(subscriber.status().counters.handled, 1);
  await redis.quit();
  await app.close();
  console.log('PASS enhancers of every kind apply');
}
