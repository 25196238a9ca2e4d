import { describe, expect, it } from 'vitest';
import { needsOfChannel } from '../../../lib/listening/channel-needs.js';

const sorted = (letters = '') => Array.from(letters).toSorted().join('');

describe('needsOfChannel', () => {
  it.each([
    ['__keyevent@0__:expired', 'Ex'],
    ['__keyevent@0__:evicted', 'Ee'],
    ['__keyevent@0__:new', 'En'],
    ['__keyevent@0__:keymiss', 'Em'],
    ['__keyevent@0__:del', 'Eg'],
    ['__keyevent@0__:setbit', 'E$'],
    ['__keyevent@0__:pfadd', 'E$'],
    ['__keyevent@0__:sortstore', 'El'],
    ['__keyevent@0__:sinterstore', 'Es'],
    ['__keyevent@0__:hset', 'Eh'],
    ['__keyevent@0__:zpopmin', 'Ez'],
    ['__keyevent@0__:xgroup-create', 'Et'],
    ['__keyevent@0__:overwritten', 'Eo'],
    ['__keyevent@0__:type_changed', 'Ec'],
    ['__keyevent@0__:json.set', 'Ed'],
    ['__keyevent@*__:expired', 'Ex'],
    ['__keyspace@0__:foo*', 'K'],
    ['__keyspace@3__:a__:b\nc', 'K'],
    ['__key*@0__:expired', 'KEx'],
    // It may be a key as well.
    ['__key*@0__:device:1', 'KE'],
    ['__subkeyspace@0__:device:*', 'Sh'],
    ['__subkeyevent@0__:hset', 'Th'],
    ['__subkeyevent@0__:json.set', 'Thd'],
    ['__subkeyspaceitem@0__:device:1\nstate', 'Ih'],
    ['__subkeyspaceevent@0__:hexpired|device:*', 'Vh'],
  ])('%s needs the flags %s, and no other', (channel, letters) => {
    const needs = needsOfChannel(channel);

    expect(sorted(needs?.letters)).toBe(sorted(letters));
    expect(needs?.unknown).toBeUndefined();
    expect(needs?.wanted).toBe('');
  });

  it.each([
    ['__keyevent@0__:xgroup-*', 'Et', ''],
    ['__keyevent@0__:z*', 'Ez', ''],
    ['__keyevent@0__:[hl]set', 'Ehl', ''],
    ['__subkeyspace*', 'SIVh', 'ad'],
    // `new` and `persist`, say: what not every server knows is left out where it is not known.
    ['__keyevent@0__:*e*', 'Ee$ghlstzx', 'nmoca'],
    ['__keyevent@0__:*', 'Ee$ghlstzx', 'nmocad'],
    ['__keyevent*', 'Ee$ghlstzx', 'nmocad'],
    ['__key*@*__:*', 'KEe$ghlstzx', 'nmocad'],
  ])(
    '%s needs %s, and wants %j where the server knows it',
    (channel, letters, wanted) => {
      const needs = needsOfChannel(channel);

      expect(sorted(needs?.letters)).toBe(sorted(letters));
      expect(sorted(needs?.wanted)).toBe(sorted(wanted));
      expect(needs?.unknown).toBeUndefined();
    },
  );

  it.each([
    ['__keyevent@0__:no-such-event', 'the class of the event "no-such-event"'],
    ['__keyevent@0__:nosuch*', 'the class of the event "nosuch*"'],
    ['__keyevent@0__:', 'the class of the event ""'],
    ['__subkeyspaceevent@0__:nope|k', 'the class of the event "nope"'],
    ['__*@0__:expired', 'the family of channels that it names'],
  ])('%s leaves open %s', (channel, unknown) => {
    expect(needsOfChannel(channel)?.unknown).toBe(unknown);
  });

  it.each([
    'news',
    '*',
    '',
    '[_]_key',
    'keyevent@0__:expired',
    '__sentinel__:hello',
  ])('%j needs nothing', (channel) => {
    expect(needsOfChannel(channel)).toBeUndefined();
  });
});
