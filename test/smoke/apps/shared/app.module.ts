import {
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  Scope,
} from '@nestjs/common';
import { REQUEST } from '@nestjs/core';
import { Redis } from 'ioredis';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
} from 'nestjs-redis-expiry';
import { setTimeout as sleep } from 'node:timers/promises';

export const redisUrl = process.env['REDIS_URL'] ?? '';

/** What happened, in order. */
@Injectable()
export class Journal {
  readonly lines: string[] = [];

  write(line: string): void {
    this.lines.push(line);
  }

  async waitFor(line: string): Promise<void> {
    for (const end = Date.now() + 10_000; !this.lines.includes(line);) {
      if (Date.now() > end)
        throw new Error(`"${line}" is not among ${this.lines.join(', ')}`);
      await sleep(5);
    }
  }
}

/** The application's own client, which it closes as soon as it is told that the end has come. */
@Injectable()
export class Store implements OnApplicationBootstrap, OnModuleDestroy {
  readonly redis = new Redis(redisUrl);

  constructor(private readonly journal: Journal) {}

  /** Resolves when the key has expired: Redis looks at a key's time whenever it is asked for it. */
  async expire(key: string): Promise<void> {
    await this.redis.set(key, '', 'PX', 20);
    while (await this.redis.exists(key)) await sleep(5);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.expire('device:feature-boot');
    await sleep(100);
    this.journal.write('feature bootstrapped');
  }

  async onModuleDestroy(): Promise<void> {
    this.journal.write('feature destroyed');
    await this.redis.quit();
  }
}

@Injectable()
export class Devices {
  constructor(
    private readonly journal: Journal,
    private readonly store: Store,
  ) {}

  @OnKeyExpired('device:*')
  onOffline({ captures: [id], source, attempt }: KeyExpiredEvent): void {
    this.journal.write(`device ${id} by ${source}, try ${attempt}`);
  }

  @OnKeyExpired('slow:*', { concurrency: 1 })
  async onSlow({ key }: KeyExpiredEvent): Promise<void> {
    this.journal.write(`${key} began`);
    await sleep(400);
    await this.store.redis.ping();
    this.journal.write(`${key} ended`);
  }
}

@Controller({ path: 'sessions', scope: Scope.REQUEST })
export class SessionsController {
  static readonly made: SessionsController[] = [];

  constructor(
    @Inject(REQUEST) private readonly request: unknown,
    private readonly journal: Journal,
  ) {
    SessionsController.made.push(this);
  }

  @Get()
  list(): string {
    return 'sessions';
  }

  @OnKeyExpired('session:*')
  onEnd(event: KeyExpiredEvent): void {
    const seen = this.request === event ? 'its' : 'no';
    this.journal.write(`${event.key} with ${seen} request`);
  }
}

@Module({
  providers: [Journal, Store, Devices],
  exports: [Journal, Store],
})
export class FeatureModule {}

@Module({ controllers: [SessionsController] })
export class AppModule implements OnApplicationBootstrap, OnModuleDestroy {
  constructor(
    private readonly journal: Journal,
    private readonly store: Store,
  ) {}

  static with(expiry: DynamicModule): DynamicModule {
    return { module: AppModule, imports: [expiry, FeatureModule] };
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.store.expire('device:app-boot');
    await sleep(100);
    this.journal.write('app bootstrapped');
  }

  onModuleDestroy(): void {
    this.journal.write('app destroyed');
  }
}

/** Nest puts a local and a global module into opposite places of the order of its hooks. */
export const setups: Record<string, () => DynamicModule> = {
  'forRoot, local': () => RedisExpiryModule.forRoot({ connection: redisUrl }),
  'forRootAsync, global, own client': () =>
    RedisExpiryModule.forRootAsync({
      isGlobal: true,
      imports: [FeatureModule],
      inject: [Store],
      useFactory: ({ redis }: Store) => ({ connection: redis }),
    }),
};
