import { describe, expect, it } from 'vitest';
import {
  type NeededFlags,
  NotificationFlags,
} from '../../../lib/listening/notification-flags.js';
import { onEveryServer } from '../../support/servers.js';

const needed = (letters: string): NeededFlags => ({
  letters: new Set(letters),
  wanted: '',
});

const sorted = (letters: string) => Array.from(letters).toSorted().join('');

const missing = (text: string, need: NeededFlags) =>
  sorted(new NotificationFlags(text).missing(need));

describe('NotificationFlags.missing', () => {
  it.each([
    ['', 'Kx'],
    ['x', 'K'],
    ['K', 'x'],
    ['E', 'x'],
    ['Kg$', 'x'],
    ['Ex', ''],
    ['xE', ''],
    ['Kx', ''],
    ['xKE', ''],
    ['AKE', ''],
    ['AE', ''],
    ['A', 'K'],
    ['g$lshzetdKE', 'x'],
  ])('%j lacks %j for expiries on any family', (text, lacks) => {
    expect(missing(text, needed('x'))).toBe(lacks);
  });

  it.each([
    ['', 'xE', 'Ex'],
    ['Kx', 'xE', 'E'],
    ['Ex', 'xE', ''],
    ['Ex', 'xK', 'K'],
    ['', 'xKE', 'EKx'],
    ['Ex', 'xe', 'e'],
    ['AE', 'xe', ''],
    ['AE', 'xn', 'n'],
    ['AE', 'xm', 'm'],
    ['En', 'xn', 'x'],
  ])('%j lacks, of %j, %j', (text, letters, lacks) => {
    expect(missing(text, needed(letters))).toBe(lacks);
  });
});

describe('NotificationFlags.plus', () => {
  it.each([
    ['', 'Kx'],
    ['Ex', 'n'],
    ['Kg$', 'x'],
    ['AKE', 'n'],
    ['xKE', 'xE'],
  ])('to %j adds %j and drops nothing', (text, letters) => {
    const sum = new NotificationFlags(text).plus(letters).text;

    expect(new Set(sum)).toEqual(new Set(text + letters));
    expect(sum).toHaveLength(new Set(sum).size);
  });
});

describe('NotificationFlags', () => {
  it('knows what A stands for, and that it may hide more', () => {
    const all = new NotificationFlags('AE');

    for (const letter of 'g$lshzxetdAE') expect(all.has(letter)).toBe(true);
    for (const letter of 'Knm') expect(all.has(letter)).toBe(false);
    expect(all.hides).toBe(true);
    expect(new NotificationFlags('g$lshzxetdKE').hides).toBe(false);
  });

  it.each([
    ['Kx', true],
    ['Ex', true],
    ['AE', true],
    ['x', false],
    ['KE', false],
    ['A', false],
    ['Kg$', false],
    ['', false],
  ])('tells whether %j announces expiries: %j', (text, announces) => {
    expect(new NotificationFlags(text).announcesExpiry).toBe(announces);
  });
});

onEveryServer('NotificationFlags and CONFIG', (server) => {
  it.each(['', 'Ex', 'KEA', 'Kg$', 'KEg$lshzxetd', 'AKn', 'KEn', 'xeK'])(
    'reads what the server prints for %j as the same set',
    async (text) => {
      await server.setFlags(text);

      const printed = new NotificationFlags(await server.flags());
      const meant = new NotificationFlags(text);
      // `n` is hidden once A is complete.
      for (const letter of 'KEg$lshzxetd')
        expect([letter, printed.has(letter)]).toEqual([
          letter,
          meant.has(letter),
        ]);
      // What was read may be written again, and stays what it was.
      await server.setFlags(printed.plus('').text);
      expect(new Set(await server.flags())).toEqual(new Set(printed.text));
    },
  );
});
