import { describe, expect, it } from 'vitest';
import {
  isLiteralChannel,
  keyOfMessage,
  keyeventChannel,
  keyspaceChannel,
} from '../../../lib/listening/channels.js';

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
    ['__subkeyspace@0__:k:1', 'hset|1:a,2:bc', 'k:1'],
    ['__subkeyevent@0__:hset', '3:k|1|1:a,2:bc', 'k|1'],
    ['__subkeyspaceitem@0__:k:1\na', 'hset', 'k:1'],
    ['__subkeyspaceevent@0__:hset|k|1', '1:a,2:bc', 'k|1'],
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
