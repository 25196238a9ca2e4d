import { type ValueKinds, kindOf } from '../dispatch/event-value.js';
import type { ExpiryHandler } from '../dispatch/expiry.js';
import { RedisGlob } from '../dispatch/redis-glob.js';

/** What of a handler all instances of a group know. */
export interface KnownHandler {
  readonly glob: RedisGlob;
  /** As of `ExpiryHandler`: set where it is for warnings. */
  readonly before?: number | undefined;
  /** In which types of keys it asks for values, if at all. */
  readonly values?: ValueKinds | undefined;
  /** As of `ExpiryHandler`. */
  readonly grace?: number;
}

/** Handlers by their ids, as all instances of a group know them. */
export type HandlerList = ReadonlyMap<string, KnownHandler>;

/** The handlers that some instances have, or had until a while ago. */
export interface KnownList {
  readonly handlers: HandlerList;
  /** Ms for which no living instance has them; 0 if one has. */
  readonly gone: number;
}

/** The name of a handler, alone or with what else others are to know of it. */
type Noted = string | readonly [name: string, more: { grace?: number }];

/** A handler of this instance, and what names it in the whole group. */
export interface NamedHandler {
  /**
   * `Scope/Class.method pattern`, or `Scope/Class.method#2 pattern` for the second of several that are
   * alike; `Scope/Class.method<5000 pattern` for one of warnings, 5000 ms before. Neither the scope nor the name holds a
   * space or a `<`, so the pattern begins after the first space.
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
    return (this.#text ??= writeHandlerList(this));
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

  /** The handlers of expiries, or of warnings so many ms before, whose pattern matches a key, which is given without its `keyPrefix`. */
  matching(key: Buffer, before?: number): NamedHandler[] {
    return [...this].filter(
      ({ handler }) => handler.before === before && handler.glob.test(key),
    );
  }

  [Symbol.iterator](): Iterator<NamedHandler> {
    return this.#byId.values();
  }
}

/**
 * Ids by their patterns, as JSON: `{"device:*":["Scope/Class.method"]}`; of one that asks for values
 * `"Scope/Class.method string"`, and of one with a grace `["Scope/Class.method",{"grace":5000}]`.
 */
function writeHandlerList(handlers: Iterable<NamedHandler>): string {
  const names = Object.create(null) as Record<string, Noted[]>;
  const sorted = [...handlers].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const { id, handler } of sorted) {
    const { grace } = handler;
    const space = id.indexOf(' ');
    const kind = kindOf(handler.value);
    const name = id.slice(0, space) + (kind ? ` ${kind}` : '');
    const noted = grace === undefined ? name : ([name, { grace }] as const);
    (names[id.slice(space + 1)] ??= []).push(noted);
  }
  return JSON.stringify(names);
}

/** What another instance wrote; nothing of it where it cannot be read, as a later version may write it. */
export function readHandlerList(text: string): HandlerList {
  const list = new Map<string, KnownHandler>();
  try {
    const names = JSON.parse(text) as Record<string, readonly Noted[]>;
    for (const [pattern, of] of Object.entries(names)) {
      const glob = new RedisGlob(pattern);
      for (const noted of of) {
        const [listed, { grace }] =
          typeof noted === 'string' ? [noted, {}] : noted;
        const [name = '', kind] = listed.split(' ');
        const [, ms] = WARNED.exec(name) ?? [];
        const before = ms === undefined ? undefined : Number(ms);
        const isKnown = kind === 'string' || kind === 'hash';
        const values = isKnown ? kind : undefined;
        list.set(`${name} ${pattern}`, {
          ...{ glob, before, values },
          ...(grace && { grace }),
        });
      }
    }
  } catch {
    list.clear();
  }
  return list;
}

/** The handlers of a list. */
export const handlersOf = ({ handlers }: KnownList): KnownHandler[] => [
  ...handlers.values(),
];

/** The ids of those handlers of a list, of expiries or of warnings so many ms before, whose pattern matches a key. */
export const matchingIds = (
  list: HandlerList,
  key: Buffer,
  before: number | undefined,
): string[] =>
  [...list].flatMap(([id, known]) =>
    known.before === before && known.glob.test(key) ? [id] : [],
  );

/** How the name of a handler of warnings ends. */
const WARNED = /<(\d+)$/;

/** The `Class.method` and the pattern of an id, for people to read. */
export const readableId = (id: string): string =>
  id.replace(/^[^\s/]*\//, '').replace(/^([^\s<]*)<\d+ /, '$1 ');

function idOf(handler: ExpiryHandler, number: number) {
  const { scope = '', name, glob, before } = handler;
  const ordinal = number === 1 ? '' : `#${number}`;
  const warned = before === undefined ? '' : `<${before}`;
  const parts = [scope.replace(/[\s/<]/g, '_'), name.replace(/[\s<]/g, '_')];
  return `${parts.join('/')}${ordinal}${warned} ${glob.pattern}`;
}
