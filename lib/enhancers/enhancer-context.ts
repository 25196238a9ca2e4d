import { Inject, Injectable, Logger, type Type } from '@nestjs/common';
import {
  type ContextId,
  ExternalContextCreator,
  ModulesContainer,
} from '@nestjs/core';
import { HANDLER_PARAMS } from '../decorators/handler-metadata.js';
import type { EnhancerKind } from '../engine/module-options.js';
import type { ResolvedOptions } from '../engine/options.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import { RESOLVED_OPTIONS } from '../redis-expiry.module-definition.js';
import { boundClasses } from './bound-classes.js';
import { FilterChain, type FilterHandler } from './filter-chain.js';
import { ScopedGlobals, type Wrapper } from './scoped-globals.js';

/** What `ExecutionContext.getType()` says while a handler of this module runs. */
const CONTEXT_TYPE = 'redis-expiry';

/** The only parameter of a handler is the event. */
const EVENT_PARAMS = {
  exchangeKeyForValue: (_type: number, _data: unknown, args: unknown[]) =>
    args[0],
};

interface FilterContexts {
  create(
    instance: object,
    callback: (...args: unknown[]) => unknown,
    moduleKey: string,
    contextId: ContextId | undefined,
    inquirerId: string,
  ): FilterHandler;
}

type Method = (event: object) => Promise<unknown>;
type Instance = Record<string, (...args: unknown[]) => unknown>;

/**
 * Calls handlers through Nest's enhancers, as a route or a resolver is called: those of the kinds that the option
 * `enhancers` names, of the whole application, of the class, and of the method. The explorer has it.
 *
 * Guarantees: what is looked up for a handler is looked up once, unless the handler or one of its enhancers is
 * made for each event. An error that a filter takes goes no further.
 */
@Injectable()
export class EnhancerContext {
  readonly #kinds: ReadonlySet<EnhancerKind>;
  readonly #globals: ScopedGlobals;
  readonly #logger: Logger;

  constructor(
    @Inject(RESOLVED_OPTIONS) { enhancers, name }: ResolvedOptions,
    @Inject(ExternalContextCreator)
    private readonly creator: ExternalContextCreator,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {
    this.#kinds = new Set(enhancers);
    this.#globals = new ScopedGlobals(this.#kinds, modules);
    this.#logger = new Logger(name);
  }

  /** Whether any kind of enhancer applies to handlers. Where none does, they are called directly. */
  get isOn(): boolean {
    return this.#kinds.size > 0;
  }

  /** Whether some enhancer that applies globally is made for each event. */
  get isPerEvent(): boolean {
    return this.#globals.perEvent.length > 0;
  }

  /** Enhancers that apply globally, but cannot apply to handlers, by name. */
  get unable(): string[] {
    return this.#globals.transient.map(
      ({ metatype, name }) => metatype?.name ?? String(name),
    );
  }

  /**
   * Enhancers of a handler that Nest does not make, by name: it makes them for the providers only that it makes
   * itself, by their class.
   */
  unmade(wrapper: Wrapper, prototype: object, method: string): string[] {
    if (!wrapper.isNotMetatype) return [];
    const callback = (prototype as Instance)[method]!;
    return boundClasses(this.#kinds, prototype.constructor as Type, callback);
  }

  /** Makes what is made for each event and applies globally. To be called before `enhance` for that event. */
  async prepare(contextId: ContextId): Promise<void> {
    await this.#globals.make(contextId);
  }

  /**
   * A method with its enhancers.
   *
   * @param wrapper Nest's, of the provider that the instance is of
   * @param contextId of the event, if the instance or an enhancer was made for it
   */
  enhance(
    wrapper: Wrapper,
    instance: object,
    method: string,
    contextId?: ContextId,
  ): Method {
    const kinds = this.#kinds;
    const callback = (instance as Instance)[method]!;
    const run = this.creator.create(
      instance,
      callback,
      method,
      HANDLER_PARAMS,
      kinds.has('pipes') ? EVENT_PARAMS : undefined,
      contextId,
      wrapper.id,
      {
        guards: kinds.has('guards'),
        interceptors: kinds.has('interceptors'),
        filters: false,
      },
      CONTEXT_TYPE,
    ) as Method;
    if (!kinds.has('filters')) return run;
    const filters = this.#filtersOf(wrapper, instance, callback, contextId);
    const type = instance.constructor as Type;
    const place = { type, callback, contextType: CONTEXT_TYPE };
    return async (event) => {
      try {
        return await run(event);
      } catch (error) {
        try {
          return await filters.take(error, { ...place, event });
        } catch (thrown) {
          if (thrown !== error)
            this.#logger.warn(
              `A filter of ${type.name}.${method} threw another error in the place of this one: ${reasonOf(error)}`,
            );
          throw thrown;
        }
      }
    };
  }

  #filtersOf(
    { host, id }: Wrapper,
    instance: object,
    callback: (...args: unknown[]) => unknown,
    contextId: ContextId | undefined,
  ): FilterChain {
    const [key = ''] =
      [...this.modules].find(([, module]) => module === host) ?? [];
    // Nest has no other way to ask which filters there are: tests of every version that is supported hold this.
    const contexts = this.creator['filtersContextCreator'] as FilterContexts;
    return new FilterChain(
      contexts.create(instance, callback, key, contextId, id),
    );
  }
}
