import type { Type } from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { isObservable, lastValueFrom } from 'rxjs';

/** A filter, as Nest keeps it: called with the error and an `ArgumentsHost`. */
interface Filter {
  readonly func: (error: unknown, host: object) => unknown;
}

/** What Nest chooses the filter for an error by. */
export interface FilterHandler {
  readonly filters: readonly Filter[];
  setCustomFilters(filters: readonly Filter[]): void;
  /** Calls the filter that is for the error, and returns what it returns. */
  invokeCustomFilters(error: unknown, host: object): unknown;
}

/** Where an error was thrown. */
export interface Thrown {
  readonly event: object;
  readonly type: Type;
  readonly callback: (...args: unknown[]) => unknown;
  /** What `ArgumentsHost.getType()` is to say. */
  readonly contextType: string;
}

/**
 * The exception filters of one handler, those of the method first and the global ones last. Nest's own external context
 * takes a filter that returns nothing for one that took nothing; here a filter that is for an error, and does not
 * throw, has taken it, as in HTTP.
 */
export class FilterChain {
  readonly #handler: FilterHandler;

  /** @param handler with the filters, not used by anybody else */
  constructor(handler: FilterHandler) {
    // What a filter returns is wrapped, so that nothing can be told from no filter.
    handler.setCustomFilters(
      handler.filters.map((filter) => ({
        ...filter,
        func: (error: unknown, host: object) => ({
          taken: filter.func(error, host),
        }),
      })),
    );
    this.#handler = handler;
  }

  /** Resolves with what the filter returned that took the error. Rejects with the error where none is for it, or with what the filter throws. */
  async take(error: unknown, thrown: Thrown): Promise<unknown> {
    const { event, type, callback, contextType } = thrown;
    const host = new ExecutionContextHost([event], type, callback);
    host.setType(contextType);
    const result = this.#handler.invokeCustomFilters(error, host) as
      { taken: unknown } | null | undefined;
    if (!result) throw error;
    const { taken } = result;
    // As filters of microservices return errors.
    return isObservable(taken)
      ? lastValueFrom(taken, { defaultValue: undefined })
      : taken;
  }
}
