/** Slots of a Cluster. */
export const SLOTS = 16_384;

const CRC16: readonly number[] = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++)
    crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  return crc;
});

const ZERO = '0'.charCodeAt(0);

/** CRC16 of what there was, and one byte more. */
const step = (crc: number, byte: number): number =>
  ((crc << 8) & 0xffff) ^ CRC16[(crc >> 8) ^ byte]!;

/** The slot of a key in a Cluster: of what stands between its first `{` and the next `}`, if that is not empty. */
export function slotOf(key: Buffer | string): number {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key;
  const open = bytes.indexOf('{');
  const close = open < 0 ? -1 : bytes.indexOf('}', open + 1);
  const tagged = close > open + 1;
  const end = tagged ? close : bytes.length;
  // A loop, and no part of the Buffer: this is done for each key that is sent to a Cluster.
  let crc = 0;
  for (let i = tagged ? open + 1 : 0; i < end; i++) crc = step(crc, bytes[i]!);
  return crc % SLOTS;
}

/** Whether a key's slot is that of what it has in braces, whatever stands after them. */
export const hasHashTag = (key: string): boolean => /^[^{]*\{[^}]+\}/.test(key);

/**
 * The slots of the texts `<prefix>0`, `<prefix>1`, … without end. Each takes hardly more than a step from one before.
 * It may be the first hundred thousand of them that none is of a certain slot, and nothing else runs in the process
 * while one looks for it.
 *
 * @param prefix without a hash tag: with one, all would have the slot of that
 */
export function* slotsOfNumbered(prefix: string): Generator<number, never> {
  const base = Buffer.from(prefix).reduce(step, 0);
  for (let tens = 0; ; tens++) {
    const digits = tens === 0 ? '' : `${tens}`;
    const head = Buffer.from(digits).reduce(step, base);
    for (let digit = 0; digit < 10; digit++)
      yield step(head, ZERO + digit) % SLOTS;
  }
}

/**
 * A name that begins like this and whose slot is one of those that are wanted, of which there must be some; undefined
 * where a hash tag in its beginning leaves no choice, and that slot is none of them.
 */
export function nameWhere(
  prefix: string,
  isWanted: (slot: number) => boolean,
): string | undefined {
  if (hasHashTag(prefix)) return isWanted(slotOf(prefix)) ? prefix : undefined;
  let number = 0;
  for (const slot of slotsOfNumbered(prefix)) {
    if (isWanted(slot)) break;
    number++;
  }
  return prefix + number;
}
