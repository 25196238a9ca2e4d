import type { ExpiryHandler } from '../dispatch/expiry.js';
import { RedisGlob } from '../dispatch/redis-glob.js';

/** Handlers by their ids, as all instances of a group know them. */
export type HandlerList = ReadonlyMap<string, RedisGlob>;

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
  #text: string | undefined;

  /** The ids, as `readHandlerList` reads them: the same text wherever the same handlers are. */
  get text(): string {
    return (this.#text ??= writeHandlerList(this.#byId.keys()));
  }

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
    this.#text = undefined;
  }

  remove(handler: ExpiryHandler): void {
    const id = this.#ids.get(handler);
    if (id === undefined) return;
    this.#ids.delete(handler);
    this.#byId.delete(id);
    this.#text = undefined;
  }

  /** Whether this instance has the handler of an id. */
  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** The handler that has this id here; none if there is none. */
  withId(id: string): NamedHandler[] {
    const named = this.#byId.get(id);
    return named ? [named] : [];
  }

  /** The handlers whose pattern matches a key, which is given without its `keyPrefix`. */
  matching(key: Buffer): NamedHandler[] {
    return [...this].filter(({ handler }) => handler.glob.test(key));
  }

  [Symbol.iterator](): Iterator<NamedHandler> {
    return this.#byId.values();
  }
}

/** Ids by their patterns, as JSON: `{"device:*":["Scope/Class.method"]}`. */
function writeHandlerList(ids: Iterable<string>): string {
  const names = Object.create(null) as Record<string, string[]>;
  for (const id of [...ids].toSorted()) {
    const space = id.indexOf(' ');
    (names[id.slice(space + 1)] ??= []).push(id.slice(0, space));
  }
  return JSON.stringify(names);
}

/** What another instance wrote; nothing of it where it cannot be read, as a later version may write it. */
export function readHandlerList(text: string): HandlerList {
  const list = new Map<string, RedisGlob>();
  try {
    const names = JSON.parse(text) as Record<string, readonly string[]>;
    for (const [pattern, of] of Object.entries(names)) {
      const glob = new RedisGlob(pattern);
      for (const name of of) list.set(`${name} ${pattern}`, glob);
    }
  } catch {
    list.clear();
  }
  return list;
}

/** The `Class.method` and the pattern of an id, for people to read. */
export const readableId = (id: string): string => id.replace(/^[^\s/]*\//, '');

function idOf({ scope = '', name, glob }: ExpiryHandler, number: number) {
  const ordinal = number === 1 ? '' : `#${number}`;
  const parts = [scope.replace(/[\s/]/g, '_'), name.replace(/\s/g, '_')];
  return `${parts.join('/')}${ordinal} ${glob.pattern}`;
}
