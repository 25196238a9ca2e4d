import {
  type DynamicModule,
  Inject,
  Logger,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { invalidOption, reasonOf } from './errors/redis-expiry.error.js';
import type { RedisExpiryModuleOptions } from './engine/module-options.js';
import type { RedisExpiryModuleAsyncOptions } from './interfaces/module-options.interface.js';
import { type ResolvedOptions, resolveOptions } from './engine/options.js';
import { RedisExpiryEngine } from './engine/engine.js';
import { Observation } from './engine/telemetry.js';
import type { ExpiryEngine, OwnHandler } from './engine/expiry-engine.js';
import { EnhancerContext } from './enhancers/enhancer-context.js';
import { RedisExpiryExplorer } from './redis-expiry.explorer.js';
import {
  ConfigurableModuleClass,
  MODULE_OPTIONS_TOKEN,
  RESOLVED_OPTIONS,
} from './redis-expiry.module-definition.js';
import { RedisExpiryKeys } from './redis-expiry.keys.js';
import { RedisExpirySubscriber } from './redis-expiry.subscriber.js';

/**
 * Runs methods when Redis keys expire: import it once with `forRoot()` and decorate methods with
 * `@OnKeyExpired` or `@OnKeyExpiring`. Several `forRoot` with different connections work side by side; a handler
 * belongs to the one that its own module imports, else to a global one, else to the nearest above. If
 * it would belong to two with the same connection, group and namespace, the first alone runs it, and a
 * warning says so.
 *
 * Lifecycle: handlers are listening when `app.init()` resolves, and none runs before every other
 * module's `onApplicationBootstrap`. At shutdown it is the first to be destroyed: it stops
 * listening and waits for what is in flight while every other provider still works; connections
 * close in `onApplicationShutdown`.
 */
@Module({
  imports: [DiscoveryModule],
  providers: [
    {
      provide: RESOLVED_OPTIONS,
      useFactory: resolveOptions,
      inject: [MODULE_OPTIONS_TOKEN],
    },
    {
      provide: RedisExpiryEngine,
      useFactory: (options: ResolvedOptions) =>
        new RedisExpiryEngine(options, new Logger(options.name)),
      inject: [RESOLVED_OPTIONS],
    },
    EnhancerContext,
    RedisExpiryExplorer,
    RedisExpirySubscriber,
    RedisExpiryKeys,
  ],
  exports: [RedisExpirySubscriber, RedisExpiryKeys],
})
export class RedisExpiryModule
  extends ConfigurableModuleClass
  implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown
{
  readonly #logger: Logger;
  readonly #observation: Observation;
  #bootstrapped: Promise<void> | undefined;

  /** Nest calls it. @internal */
  constructor(
    @Inject(RESOLVED_OPTIONS) private readonly options: ResolvedOptions,
    @Inject(RedisExpiryEngine) private readonly engine: ExpiryEngine,
    @Inject(RedisExpiryExplorer) private readonly explorer: RedisExpiryExplorer,
  ) {
    super();
    this.#logger = new Logger(options.name);
    this.#observation = new Observation(options.telemetry, this.#logger);
    // Hooks run in the order of this number, the farthest first at start and the nearest first at
    // shutdown: below all others, this module starts last and is destroyed first.
    const module = explorer.ownModule();
    if (module) module.distance = -1;
  }

  /** @throws RedisExpiryError while the module is created, when an option is not accepted */
  static override forRoot(
    options: RedisExpiryModuleOptions & { isGlobal?: boolean } = {},
  ): DynamicModule {
    return super.forRoot(options);
  }

  /**
   * @throws RedisExpiryError at once when there is none of `useFactory`, `useClass` and `useExisting`;
   *   while the module is created, when an option is not accepted
   */
  static override forRootAsync(
    options: RedisExpiryModuleAsyncOptions,
  ): DynamicModule {
    const { useFactory, useClass, useExisting } = options ?? {};
    if (!useFactory && !useClass && !useExisting) {
      throw invalidOption(
        'useFactory',
        undefined,
        'a function, or a class as useClass or useExisting',
      );
    }
    return super.forRootAsync(options);
  }

  /** Nest may call it more than once: for an application, and for each microservice that it is connected to. */
  onApplicationBootstrap(): Promise<void> {
    this.#bootstrapped ??= this.#bootstrap();
    return this.#bootstrapped;
  }

  async #bootstrap(): Promise<void> {
    const handlers = this.#handlersToRun();
    await this.engine.start(handlers);
    this.#observation.begin(() => this.engine.status());
    this.#tellMapped(handlers);
    this.explorer.onLazyLoad(() => this.#wireLoaded());
  }

  /** Runs the handlers of modules that were loaded lazily: `load()` resolves when they are listened for. */
  async #wireLoaded(): Promise<void> {
    const handlers = this.#handlersToRun();
    const wired = Promise.all(
      handlers.map((handler) => this.engine.handle(handler)),
    ).then(() => this.#tellMapped(handlers));
    if (!this.options.source.target?.lazyConnect) await wired;
    else
      wired.catch((error: unknown) =>
        this.#logger.error(
          `Handlers of a lazily loaded module are not listened for: ${reasonOf(error)}`,
        ),
      );
  }

  /** The handlers that were not found before. With `enabled: false` none of them is run, and their names are logged. */
  #handlersToRun(): OwnHandler[] {
    const found = this.explorer.explore((text) => this.#logger.warn(text));
    if (this.options.enabled) return found;
    const names = new Set(found.map(({ name }) => name));
    if (names.size > 0)
      this.#logger.log(
        `Handlers that do not run in this process (enabled: false): ${[...names].join(', ')}`,
      );
    return [];
  }

  #tellMapped(handlers: readonly OwnHandler[]): void {
    for (const { name, glob, before } of handlers) {
      const what =
        before === undefined ? 'expired' : `expiring in ${before} ms`;
      this.#logger.log(`Mapped {${glob.pattern}, ${what}} to ${name}`);
    }
  }

  async onModuleDestroy(): Promise<void> {
    await this.engine.drain();
  }

  onApplicationShutdown(): void {
    this.#observation.end();
    this.engine.close();
  }
}
