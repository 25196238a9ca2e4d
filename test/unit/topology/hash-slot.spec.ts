import { describe, expect, it } from 'vitest';
import {
  hasHashTag,
  slotOf,
  slotsOfNumbered,
} from '../../../lib/topology/hash-slot.js';

describe('slots of a Cluster', () => {
  it.for([
    ['presence', 15_428],
    ['rx:{presence}:index', 15_428],
    ['{}presence', 11_689],
  ] as const)('%s', ([key, slot]) => {
    expect(slotOf(key)).toBe(slot);
  });

  it('of numbered texts are those of each by itself', () => {
    let number = 0;
    for (const slot of slotsOfNumbered('presence:')) {
      expect(slot).toBe(slotOf(`rx:{presence:${number}}:x`));
      if (++number > 12_000) break;
    }
  });
});

describe('a hash tag', () => {
  it.for(['{a}', 'x{a}y', 'x{a}{b}', 'x{{a}'])('is in %s', (key) => {
    expect(hasHashTag(key)).toBe(true);
  });

  it.for(['', 'a', '{}a', 'a}{', 'a{b', '{}{a}'])('is not in %s', (key) => {
    expect(hasHashTag(key)).toBe(false);
  });
});
