/** Whether a key begins with these bytes. */
export const startsWith = (key: Buffer, prefix: Buffer): boolean =>
  key.length >= prefix.length &&
  key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;

/** The shortest ones of some prefixes, in their order: none is another one's beginning. */
export function shortest(prefixes: readonly Buffer[]): Buffer[] {
  const found: Buffer[] = [];
  for (const prefix of prefixes.toSorted((a, b) => a.compare(b))) {
    const shorter = found.at(-1);
    if (!shorter || !startsWith(prefix, shorter)) found.push(prefix);
  }
  return found;
}
