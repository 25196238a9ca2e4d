import { Inject, Injectable } from '@nestjs/common';
import {
  type ContextId,
  ContextIdFactory,
  DiscoveryService,
  LazyModuleLoader,
  MetadataScanner,
  ModuleRef,
  ModulesContainer,
} from '@nestjs/core';
import {
  type HandlerMetadata,
  handlerMetadata,
} from './decorators/handler-metadata.js';
import { EnhancerContext } from './enhancers/enhancer-context.js';
import type { Wrapper } from './enhancers/scoped-globals.js';
import { reasonOf } from './errors/redis-expiry.error.js';
import { RedisGlob } from './dispatch/redis-glob.js';
import type { RedisExpiryModuleOptions } from './engine/module-options.js';
import { ModuleScope, type NestModule } from './module-scope.js';
import {
  type ResolvedHandlerOptions,
  resolveExpiringOptions,
  resolveHandlerOptions,
} from './engine/options.js';
import type { OwnHandler } from './engine/expiry-engine.js';
import { MODULE_OPTIONS_TOKEN } from './redis-expiry.module-definition.js';
import { isSamePlace } from './engine/same-place.js';

type Method = (event: object) => unknown;

/**
 * Finds the methods that `@OnKeyExpired` and `@OnKeyExpiring` decorate, of every provider and controller that belongs
 * to this `forRoot`. Each method is called directly, so that no global guard may veto an expiry and no filter may
 * turn a failure into a success, unless the option `enhancers` says that they may.
 */
@Injectable()
export class RedisExpiryExplorer {
  readonly #explored = new WeakSet<Wrapper>();
  #hasWarned = false;

  constructor(
    @Inject(DiscoveryService) private readonly discovery: DiscoveryService,
    @Inject(MetadataScanner) private readonly scanner: MetadataScanner,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
    @Inject(LazyModuleLoader) private readonly loader: LazyModuleLoader,
    @Inject(EnhancerContext) private readonly enhancers: EnhancerContext,
  ) {}

  /** The Nest module that this explorer is a provider of. */
  ownModule(): NestModule | undefined {
    return [...this.modules.values()].find(
      (module) => module.providers.get(RedisExpiryExplorer)?.instance === this,
    );
  }

  /**
   * Calls back whenever the application has loaded a module lazily, and lets `load()` resolve or reject
   * as the callback does. Nest tells of it by no other means.
   */
  onLazyLoad(callback: () => Promise<void>): void {
    const load = this.loader.load.bind(this.loader);
    this.loader.load = async (...args) => {
      const moduleRef = await load(...args);
      await callback();
      return moduleRef;
    };
  }

  /** The handlers that no call before returned; call it once every provider was made. `warn` is told of those that another `forRoot` has. */
  explore(warn: (text: string) => void): OwnHandler[] {
    const own = this.ownModule();
    if (!own) return [];
    const scope = new ModuleScope(this.modules, own.metatype, (one, other) =>
      isSamePlace(optionsOf(one), optionsOf(other)),
    );
    const wrappers = [
      ...this.discovery.getProviders(),
      ...this.discovery.getControllers(),
    ].filter((wrapper) => !wrapper.isAlias && !this.#explored.has(wrapper));
    for (const wrapper of wrappers) this.#explored.add(wrapper);
    this.#warnOfTaken(own, scope, wrappers, warn);
    this.#warnOfUnable(warn);
    const owned = wrappers.filter(({ host }) => host && scope.owns(own, host));
    for (const wrapper of owned) this.#warnOfUnmade(wrapper, warn);
    return owned.flatMap((wrapper) => this.#handlersOf(wrapper));
  }

  #warnOfTaken(
    own: NestModule,
    scope: ModuleScope,
    wrappers: readonly Wrapper[],
    warn: (text: string) => void,
  ): void {
    const names = new Map<NestModule, string[]>();
    for (const wrapper of wrappers) {
      const taker = wrapper.host && scope.takenBy(own, wrapper.host);
      if (!taker) continue;
      const taken = this.#handlersOf(wrapper).map(({ name }) => name);
      names.set(taker, [...(names.get(taker) ?? []), ...taken]);
    }
    for (const [taker, handlers] of names)
      if (handlers.length > 0)
        warn(
          `RedisExpiryModule.forRoot() is called twice with the same connection, group and namespace: imported by ${scope.importersOf(taker)}, ` +
            `and by ${scope.importersOf(own)}. What belongs to both is run once, by the first: ${[...new Set(handlers)].join(', ')}. ` +
            'Call forRoot() once, and import what it returns, or set isGlobal',
        );
  }

  #warnOfUnable(warn: (text: string) => void): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    for (const name of this.enhancers.unable)
      warn(
        `${name} applies globally and is transient, so it does not apply to handlers of expiries: make it a singleton, or request-scoped`,
      );
  }

  #warnOfUnmade(wrapper: Wrapper, warn: (text: string) => void): void {
    const prototype = prototypeOf(wrapper);
    if (!prototype) return;
    for (const method of this.scanner.getAllMethodNames(prototype)) {
      if (handlerMetadata(prototype, method).length === 0) continue;
      const names = this.enhancers.unmade(wrapper, prototype, method);
      if (names.length > 0)
        warn(
          `${className(wrapper)}.${method} is of a provider that is not given by its class, so Nest does not make its enhancers, and they do not apply: ${names.join(', ')}. Give the class, or instances of the enhancers`,
        );
    }
  }

  #handlersOf(wrapper: Wrapper): OwnHandler[] {
    const perEvent = isPerEvent(wrapper);
    const prototype = prototypeOf(wrapper);
    if (!prototype) return [];
    return this.scanner
      .getAllMethodNames(prototype)
      .flatMap((method) =>
        handlerMetadata(prototype, method).map((metadata) =>
          this.#toHandler(
            wrapper,
            method,
            metadata,
            this.#invoker(wrapper, method, perEvent),
          ),
        ),
      );
  }

  /** Calls a method of a provider: by what its enhancers make of it, and of a new instance where there is one for each event. */
  #invoker(wrapper: Wrapper, method: string, perEvent: boolean): Method {
    const { enhancers } = this;
    if (perEvent || enhancers.isPerEvent)
      return (event) => this.#invokeAnew(wrapper, method, event);
    return enhancers.isOn
      ? enhancers.enhance(wrapper, wrapper.instance as object, method)
      : (event) => methodOf(wrapper.instance, method)(event);
  }

  /** Makes a new instance, with the event as the request, and calls its method. */
  async #invokeAnew(
    wrapper: Wrapper,
    method: string,
    event: object,
  ): Promise<unknown> {
    const { enhancers } = this;
    const { instance, contextId } = await instanceFor(wrapper, event);
    if (!enhancers.isOn) return methodOf(instance, method)(event);
    await enhancers.prepare(contextId);
    return enhancers.enhance(wrapper, instance, method, contextId)(event);
  }

  #toHandler(
    wrapper: Wrapper,
    method: string,
    metadata: HandlerMetadata,
    invoke: Method,
  ): OwnHandler {
    return {
      name: `${className(wrapper)}.${method}`,
      scope: scopeOf(wrapper),
      glob: new RedisGlob(metadata.pattern),
      invoke,
      ...optionsOfHandler(metadata),
    };
  }
}

/** The instance for one event: a new one with the event as the request, or the only one of a provider that is not made for each event. */
async function instanceFor(
  wrapper: Wrapper,
  event: object,
): Promise<{ instance: object; contextId: ContextId }> {
  const moduleRef = wrapper.host!.providers.get(ModuleRef)!
    .instance as ModuleRef;
  const contextId = contextOf(event);
  const { payload } = contextId;
  // As Nest does it for requests: what a durable tree gets is shared by many events.
  const request = wrapper.isDependencyTreeDurable()
    ? payload
    : payload
      ? Object.assign({}, event, payload)
      : event;
  moduleRef.registerRequestByContextId(request, contextId);
  const instance: unknown = await moduleRef.resolve(wrapper.token, contextId, {
    strict: true,
  });
  return { instance: instance as object, contextId };
}

/**
 * The context of one event, as the application's `ContextIdStrategy` has it, if there is one: it is
 * given the event in the place of a request. Strategies are written for HTTP and look into `headers`:
 * these are there, and empty.
 */
function contextOf(event: object): ContextId {
  try {
    return ContextIdFactory.getByRequest({ headers: {}, ...event });
  } catch (error) {
    throw new Error(
      `The ContextIdStrategy of the application failed on an expiry: ${reasonOf(error)}. ` +
        'It is given the KeyExpiredEvent, with empty headers, in the place of a request',
      { cause: error },
    );
  }
}

const optionsOfHandler = ({
  kind,
  options,
}: HandlerMetadata): ResolvedHandlerOptions =>
  kind === 'expiring'
    ? resolveExpiringOptions(options)
    : resolveHandlerOptions(options);

/** The options that a `forRoot` was given. */
const optionsOf = (expiryModule: NestModule): RedisExpiryModuleOptions =>
  expiryModule.providers.get(MODULE_OPTIONS_TOKEN)
    ?.instance as RedisExpiryModuleOptions;

const methodOf = (instance: unknown, method: string): Method => {
  const called = (instance as Record<string, Method>)[method]!;
  return (event) => called.call(instance, event);
};

/** Of a value or a factory's product, the class that made it. */
const className = ({ instance, metatype, name }: Wrapper): string =>
  (instance as object | undefined)?.constructor?.name ||
  metatype?.name ||
  String(name);

/** The module that provides it, and the token that it is provided as unless that is its class. */
function scopeOf(wrapper: Wrapper): string {
  const { host, token } = wrapper;
  const provided = typeof token === 'function' ? token.name : String(token);
  const module = host?.name ?? '';
  return provided === className(wrapper) ? module : `${module}:${provided}`;
}

/** Whether a provider has another instance for each event. */
const isPerEvent = (wrapper: Wrapper): boolean =>
  !wrapper.isDependencyTreeStatic() || wrapper.isTransient;

/** What has the methods of a provider; undefined where nothing has. */
const prototypeOf = (wrapper: Wrapper): object | undefined =>
  isPerEvent(wrapper)
    ? // What a factory makes is known by the class that it is provided as, if it is one.
      prototypeOfClass(wrapper.inject ? wrapper.token : wrapper.metatype)
    : prototypeOfInstance(wrapper.instance);

function prototypeOfClass(metatype: unknown): object | undefined {
  const prototype: unknown =
    typeof metatype === 'function' ? metatype.prototype : undefined;
  return typeof prototype === 'object' && prototype !== null
    ? prototype
    : undefined;
}

function prototypeOfInstance(instance: unknown): object | undefined {
  if (typeof instance !== 'object' || instance === null) return undefined;
  return (Object.getPrototypeOf(instance) as object | null) ?? undefined;
}
