import {
  APP_FILTER,
  APP_GUARD,
  APP_INTERCEPTOR,
  APP_PIPE,
  type ContextId,
  type DiscoveryService,
  ModuleRef,
  type ModulesContainer,
} from '@nestjs/core';
import type { EnhancerKind } from '../engine/module-options.js';

/** A provider, as Nest keeps it. */
export type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** How the token of an enhancer begins that applies globally. */
const TOKENS: Record<EnhancerKind, string> = {
  guards: APP_GUARD,
  interceptors: APP_INTERCEPTOR,
  pipes: APP_PIPE,
  filters: APP_FILTER,
};

/**
 * The enhancers of some kinds that are registered for the whole application (`APP_GUARD` and the like) and are no
 * singletons. Nest makes those for controllers and resolvers; for handlers of expiries `EnhancerContext` has them
 * made here.
 */
export class ScopedGlobals {
  constructor(
    private readonly kinds: ReadonlySet<EnhancerKind>,
    private readonly modules: ModulesContainer,
  ) {}

  /** Those that are made anew for each event. */
  get perEvent(): Wrapper[] {
    return this.#all().filter(({ isTransient }) => !isTransient);
  }

  /** Those that are made for each one who uses them, which Nest does for nobody but controllers and resolvers. */
  get transient(): Wrapper[] {
    return this.#all().filter(({ isTransient }) => isTransient);
  }

  /** Makes those that are made anew for each event. The request of the context is registered. */
  async make(contextId: ContextId): Promise<void> {
    for (const { host, token } of this.perEvent) {
      const moduleRef = host!.providers.get(ModuleRef)!.instance as ModuleRef;
      await moduleRef.resolve(token, contextId, { strict: true });
    }
  }

  #all(): Wrapper[] {
    const tokens = [...this.kinds].map((kind) => TOKENS[kind]);
    // Where Nest keeps enhancers; those that are singletons, among the providers.
    return [...this.modules.values()]
      .flatMap(({ injectables }) => [...injectables.values()] as Wrapper[])
      .filter(({ token }) =>
        tokens.some((each) => String(token).startsWith(`${each} `)),
      );
  }
}
