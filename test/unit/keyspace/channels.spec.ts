import { describe, expect, it } from 'vitest';
import {
  isLiteralChannel,
  keyOfMessage,
  keyeventChannel,
  keyspaceChannel,
  needsOfChannel,
} from '../../../lib/keyspace/channels.js';

describe('channel names', () => {
  it('are those of Redis', () => {
    expect(keyspaceChannel(3, 'device:*')).toBe('__keyspace@3__:device:*');
    expect(keyeventChannel(0, 'expired')).toBe('__keyevent@0__:expired');
  });

  it.each([
    ['__keyevent@0__:expired', true],
    ['__keyspace@0__:a]b^c-d', true],
    ['__keyspace@0__:a*', false],
    ['__keyspace@0__:a?', false],
    ['__keyspace@0__:[ab]', false],
    ['__keyspace@0__:a\\b', false],
  ])('%s is literal: %j', (channel, literal) => {
    expect(isLiteralChannel(channel)).toBe(literal);
  });
});

describe('keyOfMessage', () => {
  it.each([
    ['__keyspace@0__:foo', 'expired', 'foo'],
    ['__keyspace@12__:foo', 'set', 'foo'],
    ['__keyspace@0__:', 'expired', ''],
    ['__keyspace@0__:a__:b', 'expired', 'a__:b'],
    ['__keyevent@0__:expired', 'foo', 'foo'],
    ['news', 'text', 'text'],
  ])('%s with %s is about %j', (channel, message, key) => {
    expect(
      keyOfMessage(Buffer.from(channel), Buffer.from(message)).toString(),
    ).toBe(key);
  });

  it('keeps every byte', () => {
    const key = Buffer.from([0xff, 0x00, 0x0a, 0xc3]);
    const channel = Buffer.concat([Buffer.from('__keyspace@0__:'), key]);

    expect(keyOfMessage(channel, Buffer.from('expired'))).toEqual(key);
  });
});

describe('needsOfChannel', () => {
  it.each([
    ['__keyevent@0__:expired', ['E'], 'x'],
    ['__keyevent@0__:evicted', ['E'], 'e'],
    ['__keyevent@0__:new', ['E'], 'n'],
    ['__keyevent@0__:keymiss', ['E'], 'm'],
    ['__keyevent@0__:del', ['E'], 'g'],
    ['__keyevent@0__:set', ['E'], '$'],
    ['__keyevent@0__:hset', ['E'], 'h'],
    ['__keyevent@0__:xadd', ['E'], 't'],
    ['__keyevent@*__:expired', ['E'], 'x'],
    ['__keyevent@0__:*', ['E'], undefined],
    ['__keyevent@0__:no-such-event', ['E'], undefined],
    ['__keyspace@0__:foo*', ['K'], undefined],
    ['__keyspace@3__:a__:b\nc', ['K'], undefined],
    ['__key*@0__:*', ['K', 'E'], undefined],
    ['__key*@*__:*', ['K', 'E'], undefined],
  ])('%s needs %j and the class %j', (channel, families, eventClass) => {
    const needs = needsOfChannel(channel);

    expect(needs?.families).toEqual(families);
    expect(needs?.eventClass).toBe(eventClass);
  });

  it.each(['news', '*', '', '__keyevent', 'keyevent@0__:expired'])(
    '%j needs nothing',
    (channel) => {
      expect(needsOfChannel(channel)).toBeUndefined();
    },
  );
});
