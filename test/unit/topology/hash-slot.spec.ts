import { describe, expect, it } from 'vitest';
import {
  hasHashTag,
  nameWhere,
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

describe('a name of some slot', () => {
  it.for([0, 5, 16_383])('is found for slot %d', (slot) => {
    const name = nameWhere('rx:self-test:', (each) => each === slot)!;
    expect(name).toMatch(/^rx:self-test:\d+$/);
    expect(slotOf(name)).toBe(slot);
  });

  it('is the one that its hash tag allows, or none', () => {
    expect(nameWhere('{presence}:', (slot) => slot === 15_428)).toBe(
      '{presence}:',
    );
    expect(nameWhere('{presence}:', (slot) => slot === 5)).toBeUndefined();
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
