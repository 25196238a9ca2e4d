export const SLOTS = 16_384;

/** Slots from the first to the last, both included. */
export type SlotRange = readonly [first: number, last: number];

/** Where a Cluster keeps the key. */
export function slotOf(key: string | Buffer): number {
  const bytes = Buffer.from(key);
  const open = bytes.indexOf('{');
  const close = open < 0 ? -1 : bytes.indexOf('}', open);
  return (
    crc16(close > open + 1 ? bytes.subarray(open + 1, close) : bytes) % SLOTS
  );
}

/** A key that begins with the prefix and belongs to the slot: always the same one. */
export function keyForSlot(slot: number, prefix = ''): string {
  return keysForSlot(slot, prefix, 1)[0]!;
}

/** As many different keys. Takes some milliseconds for each. */
export function keysForSlot(
  slot: number,
  prefix: string,
  count: number,
): string[] {
  if (/\{[^}]+\}/.test(prefix))
    throw new Error(`"${prefix}" has a hash tag: its keys share one slot.`);
  const keys: string[] = [];
  for (let i = 0; keys.length < count; i++) {
    const key = `${prefix}${i}`;
    if (slotOf(key) === slot) keys.push(key);
  }
  return keys;
}

/** Each slot of a range. */
export function slotsOf([first, last]: SlotRange): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** The XMODEM variant, which is what Redis uses. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : crc << 1;
  }
  return crc;
}
