import type { ExpiryHandler } from '../handlers/expiry.js';

/** A handler of this instance, and what names it in the whole group. */
export interface NamedHandler {
  /**
   * `Scope/Class.method pattern`, or `Scope/Class.method#2 pattern` for the second of several that are
   * alike. Neither the scope nor the name holds a space, so the pattern begins after the first one.
   */
  readonly id: string;
  readonly handler: ExpiryHandler;
}

/**
 * The handlers that one instance has for a group, each under an id.
 *
 * Guarantees: no two handlers have the same id at the same time. An application that is started again, or
 * deployed anew, gives the same ids to the same handlers: an id is made of the Nest module, the class, the
 * method and the pattern, and handlers that are alike in all of these are numbered in the order in which
 * they are added. A handler that is removed frees its number for the next one that is like it.
 */
export class OwnHandlers implements Iterable<NamedHandler> {
  readonly #byId = new Map<string, NamedHandler>();
  readonly #ids = new Map<ExpiryHandler, string>();

  get isEmpty(): boolean {
    return this.#ids.size === 0;
  }

  /** Gives the handler an id. Adding it a second time does nothing. */
  add(handler: ExpiryHandler): void {
    if (this.#ids.has(handler)) return;
    let id = idOf(handler, 1);
    for (let number = 2; this.#byId.has(id); number++)
      id = idOf(handler, number);
    this.#ids.set(handler, id);
    this.#byId.set(id, { id, handler });
  }

  remove(handler: ExpiryHandler): void {
    const id = this.#ids.get(handler);
    if (id === undefined) return;
    this.#ids.delete(handler);
    this.#byId.delete(id);
  }

  /** The handler that has this id here, if there is one. */
  get(id: string): NamedHandler | undefined {
    return this.#byId.get(id);
  }

  /** The handlers whose pattern matches a key, which is given without its `keyPrefix`. */
  matching(key: Buffer): NamedHandler[] {
    return [...this].filter(({ handler }) => handler.glob.test(key));
  }

  [Symbol.iterator](): Iterator<NamedHandler> {
    return this.#byId.values();
  }
}

/** The `Class.method` and the pattern of an id, for people to read. */
export const readableId = (id: string): string => id.replace(/^[^\s/]*\//, '');

function idOf({ scope = '', name, glob }: ExpiryHandler, number: number) {
  const ordinal = number === 1 ? '' : `#${number}`;
  const parts = [scope.replace(/[\s/]/g, '_'), name.replace(/\s/g, '_')];
  return `${parts.join('/')}${ordinal} ${glob.pattern}`;
}
