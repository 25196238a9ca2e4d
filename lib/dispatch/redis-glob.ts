/**
 * A Redis glob (`*`, `?`, `[a-c]`, `[^x]`, `\*`), matched on bytes by Redis's own rules, with all
 * their corners: an unclosed class ends with the pattern, `]` right after `a-` is the end of a
 * range, and a range compares bytes as signed, as Redis does where its `char` is signed (x86).
 *
 * Each `*` takes as little as it can, which is the order in which Redis tries; what it took is a
 * capture. A match costs O(pattern × key) at worst: after a mismatch only the last `*` grows.
 */
export class RedisGlob {
  /** The bytes with which every key begins that matches; of a literal, the key itself. */
  readonly prefix: Buffer;
  /** The bytes with which every key ends that matches, besides `prefix`: none of the two overlaps the other. */
  readonly suffix: Buffer;
  /**
   * `literal`: it matches one key, its `prefix`. `simple`: it has one `*` and no other special, so
   * that `prefix` and `suffix` say all about a key. `complex`: anything else.
   */
  readonly shape: 'literal' | 'simple' | 'complex';
  readonly #tokens: readonly Token[];
  readonly #trivial: Buffer | undefined;

  constructor(readonly pattern: string) {
    this.#tokens = compile(Buffer.from(pattern));
    this.prefix = literalPrefix(this.#tokens);
    this.suffix = literalSuffix(this.#tokens);
    const specials =
      this.#tokens.length - this.prefix.length - this.suffix.length;
    this.shape =
      specials === 0
        ? 'literal'
        : specials === 1 && this.#tokens[this.prefix.length] === STAR
          ? 'simple'
          : 'complex';
    this.#trivial = isTrivial(this.#tokens, this.prefix)
      ? this.prefix
      : undefined;
  }

  /** Whether the key matches. */
  test(key: Buffer): boolean {
    const prefix = this.#trivial;
    if (prefix) {
      return (
        key.length >= prefix.length &&
        key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
      );
    }
    return match(this.#tokens, key) !== undefined;
  }

  /** What each `*` took, as UTF-8 text; undefined when the key does not match. */
  captures(key: Buffer): string[] | undefined {
    const prefix = this.#trivial;
    if (prefix) {
      return this.test(key) ? [key.toString('utf8', prefix.length)] : undefined;
    }
    return match(this.#tokens, key)?.map(([from, to]) =>
      key.toString('utf8', from, to),
    );
  }
}

/** A literal text as a glob that matches just it. */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\\]/g, '\\$&');
}

const STAR = -1;
const ANY = -2;
/** A byte, `STAR`, `ANY`, or the set of bytes that a class accepts. */
type Token = number | Uint8Array;

function compile(pattern: Buffer): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const char = String.fromCharCode(pattern[i]!);
    if (char === '*') tokens.push(STAR);
    else if (char === '?') tokens.push(ANY);
    else if (char === '[') {
      const { accepts, last } = compileClass(pattern, i);
      tokens.push(accepts);
      i = last;
    } else {
      if (char === '\\' && i + 1 < pattern.length) i++;
      tokens.push(pattern[i]!);
    }
  }
  return tokens;
}

/** Compiles the class whose `[` stands at `open`; `last` is the index of its last byte. */
function compileClass(
  pattern: Buffer,
  open: number,
): { accepts: Uint8Array; last: number } {
  const accepts = new Uint8Array(256);
  const signed = (byte: number): number => (byte << 24) >> 24;
  let i = open + 1;
  const negated = pattern[i] === 0x5e;
  if (negated) i++;
  for (; i < pattern.length && pattern[i] !== 0x5d; i++) {
    if (pattern[i] === 0x5c && i + 1 < pattern.length) {
      accepts[pattern[++i]!] = 1;
    } else if (i + 2 < pattern.length && pattern[i + 1] === 0x2d) {
      const ends = [signed(pattern[i]!), signed(pattern[i + 2]!)];
      const high = Math.max(...ends);
      for (let b = Math.min(...ends); b <= high; b++) accepts[b & 0xff] = 1;
      i += 2;
    } else {
      accepts[pattern[i]!] = 1;
    }
  }
  if (negated) for (let b = 0; b < 256; b++) accepts[b]! ^= 1;
  return { accepts, last: Math.min(i, pattern.length - 1) };
}

/** The bytes before the first special. */
function literalPrefix(tokens: readonly Token[]): Buffer {
  const end = tokens.findIndex((t) => typeof t !== 'number' || t < 0);
  const bytes = end < 0 ? tokens : tokens.slice(0, end);
  return Buffer.from(bytes as number[]);
}

/** The bytes behind the last special, if there is one. */
function literalSuffix(tokens: readonly Token[]): Buffer {
  const last = tokens.findLastIndex((t) => typeof t !== 'number' || t < 0);
  return Buffer.from(last < 0 ? [] : (tokens.slice(last + 1) as number[]));
}

/** A `*` at the end is the pattern's only special: the common shape, matched by a compare. */
const isTrivial = (tokens: readonly Token[], prefix: Buffer): boolean =>
  tokens.length === prefix.length + 1 && tokens.at(-1) === STAR;

function accepts(token: Token, byte: number): boolean {
  if (typeof token === 'number') return token === byte || token === ANY;
  return token[byte] === 1;
}

/** The [from, to) that each `*` took, or undefined when there is no match. */
function match(
  tokens: readonly Token[],
  key: Buffer,
): [from: number, to: number][] | undefined {
  const stars: [from: number, to: number][] = [];
  let at = 0;
  let token = 0;
  let tokenAfterStar = -1;
  while (at < key.length || token < tokens.length) {
    const current = tokens[token];
    if (current === STAR) {
      stars.push([at, at]);
      tokenAfterStar = ++token;
    } else if (
      current !== undefined &&
      at < key.length &&
      accepts(current, key[at]!)
    ) {
      token++;
      at++;
    } else {
      const last = stars.at(-1);
      if (last === undefined || last[1] >= key.length) return undefined;
      at = ++last[1];
      token = tokenAfterStar;
    }
  }
  return stars;
}
