import { type RedisGlob, escapeGlob } from '../dispatch/redis-glob.js';

/** Which keys a script of one pass lets through: those that begin and end with these bytes. */
export interface KeyFilter {
  readonly head: Buffer;
  readonly tail: Buffer;
  /** Every such key matches its pattern. If not, only the client can tell. */
  readonly exact: boolean;
}

/** One walk through all keys of a server, however many patterns it is made for. */
export interface ScanPass {
  /** The glob that Redis compares each key with. */
  readonly match: string;
  /** What it lets through besides; none where `match` says all. */
  readonly filters: readonly KeyFilter[];
}

/** How the keys of some patterns are found. */
export interface ScanPlan {
  /** Keys that are asked for by their names. */
  readonly literals: readonly Buffer[];
  /** Undefined where all patterns are literals. */
  readonly pass: ScanPass | undefined;
}

/** Filters that a page's script is given: it reads them again for each page. */
const MOST_FILTERS = 1_000;

/**
 * Plans how to find the keys of some patterns at the least cost for the server: literals by their
 * names, and all other patterns by one pass. A pass for one pattern has Redis match it (0.4 us a key).
 * A pass for several costs as much as two or three of those, however many there are: Redis matches
 * what all of them begin with, a script compares beginnings and ends, and the client does the rest.
 */
export function planScan(globs: readonly RedisGlob[]): ScanPlan {
  const literals = globs.filter(({ shape }) => shape === 'literal');
  const others = globs.filter(({ shape }) => shape !== 'literal');
  return {
    literals: literals.map(({ prefix }) => prefix),
    pass: others.length === 0 ? undefined : planPass(others),
  };
}

function planPass(globs: readonly RedisGlob[]): ScanPass {
  if (globs.length === 1) return { match: globs[0]!.pattern, filters: [] };
  const common = globs
    .map(({ prefix }) => prefix)
    .reduce((a, b) => a.subarray(0, sharedLength(a, b)));
  const filters = withoutCovered(
    globs.map(({ prefix, suffix, shape }) => ({
      head: prefix,
      tail: suffix,
      exact: shape === 'simple',
    })),
  );
  const tooMany = filters.length > MOST_FILTERS;
  return {
    match: escapeGlob(common.toString()) + '*',
    filters: tooMany
      ? [{ head: common, tail: Buffer.alloc(0), exact: false }]
      : filters,
  };
}

/** Without filters that let nothing through which another one, with an open end, does not. */
function withoutCovered(filters: readonly KeyFilter[]): KeyFilter[] {
  const isOpen = ({ tail, exact }: KeyFilter): boolean =>
    exact && tail.length === 0;
  const open = new Set<string>();
  const sorted = filters.toSorted(
    (a, b) =>
      a.head.length - b.head.length || Number(isOpen(b)) - Number(isOpen(a)),
  );
  return sorted.filter((filter) => {
    const head = filter.head.toString('latin1');
    for (let length = 0; length <= head.length; length++)
      if (open.has(head.slice(0, length))) return false;
    if (isOpen(filter)) open.add(head);
    return true;
  });
}

/** The length of what two keys begin with alike, in whole characters. */
function sharedLength(a: Buffer, b: Buffer): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  while (((a[length] ?? 0) & 0xc0) === 0x80) length--;
  return length;
}
