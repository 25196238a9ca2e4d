import type { ModulesContainer } from '@nestjs/core';

/** A module of the application, as Nest keeps it. */
export type NestModule =
  ModulesContainer extends Map<string, infer Module> ? Module : never;

/**
 * Tells which of several `RedisExpiryModule.forRoot()` in one application a handler belongs to.
 *
 * A handler belongs to those that its own module imports, itself or by a module that exports them;
 * else to the global ones; else to those of the nearest modules that import its module. With one
 * `forRoot` in the application that is always the one. Of several that are at the same place, the
 * first alone has it: else it would run twice for one expiry.
 */
export class ModuleScope {
  readonly #expiryModules: readonly NestModule[];
  readonly #importers = new Map<NestModule, NestModule[]>();

  constructor(
    modules: ModulesContainer,
    expiryModule: object,
    private readonly areSamePlace: (
      one: NestModule,
      other: NestModule,
    ) => boolean,
  ) {
    const all = [...modules.values()];
    this.#expiryModules = all.filter((m) => m.metatype === expiryModule);
    for (const importer of all)
      for (const imported of importer.imports)
        this.#importers.set(imported, [
          ...(this.#importers.get(imported) ?? []),
          importer,
        ]);
  }

  /** Whether the handlers of a module belong to the given `forRoot`. */
  owns(expiryModule: NestModule, host: NestModule): boolean {
    return (
      this.#ownersOf(host).has(expiryModule) &&
      this.takenBy(expiryModule, host) === undefined
    );
  }

  /** The `forRoot` at the same place that has the handlers of a module instead of the given one. */
  takenBy(expiryModule: NestModule, host: NestModule): NestModule | undefined {
    const owners = this.#ownersOf(host);
    if (owners.size < 2 || !owners.has(expiryModule)) return undefined;
    const first = this.#expiryModules.find(
      (other) => owners.has(other) && this.areSamePlace(other, expiryModule),
    );
    return first === expiryModule ? undefined : first;
  }

  /** The modules that import a `forRoot`, by name; `every module` for a global one. */
  importersOf(expiryModule: NestModule): string {
    if (expiryModule.isGlobal) return 'every module';
    const importers = this.#importers.get(expiryModule) ?? [];
    return [...new Set(importers.map(({ name }) => name))].join(', ');
  }

  #ownersOf(host: NestModule): ReadonlySet<NestModule> {
    if (this.#expiryModules.length === 1) return new Set(this.#expiryModules);
    const imported = this.#seenBy(host);
    if (imported.size > 0) return imported;
    const global = this.#expiryModules.filter((m) => m.isGlobal);
    if (global.length > 0) return new Set(global);
    return this.#nearestAbove(host) ?? new Set(this.#expiryModules);
  }

  /** The expiry modules that a module imports, and those that its imports hand on. Nest has every module import the global ones: these do not count. */
  #seenBy(module: NestModule): Set<NestModule> {
    const seen = new Set<NestModule>();
    const visited = new Set<NestModule>();
    const visit = (imported: NestModule): void => {
      if (visited.has(imported)) return;
      visited.add(imported);
      if (this.#expiryModules.includes(imported)) {
        if (!imported.isGlobal) seen.add(imported);
        return;
      }
      for (const handedOn of imported.imports)
        if (imported.exports.has(handedOn.metatype)) visit(handedOn);
    };
    for (const imported of module.imports) visit(imported);
    return seen;
  }

  #nearestAbove(host: NestModule): Set<NestModule> | undefined {
    const visited = new Set([host]);
    let level = [host];
    while (level.length > 0) {
      level = level
        .flatMap((module) => this.#importers.get(module) ?? [])
        .filter((module) => !visited.has(module));
      for (const module of level) visited.add(module);
      const found = level.flatMap((module) => [...this.#seenBy(module)]);
      if (found.length > 0) return new Set(found);
    }
    return undefined;
  }
}
