import { describe, expect, it } from 'vitest';
import {
  alternative,
  chooseChannels,
  chooseHeard,
} from '../../../lib/listening/channel-choice.js';
import type { ChannelKind } from '../../../lib/listening/channels.js';
import { NotificationFlags } from '../../../lib/listening/notification-flags.js';

const flags = (text: string) => new NotificationFlags(text);
const sorted = (kinds: ReadonlySet<ChannelKind> | undefined) =>
  kinds && [...kinds].toSorted();

describe('chooseChannels', () => {
  it.each([
    // The server filters by pattern on keyspace channels.
    ['Kx', ['keyspace']],
    ['KEx', ['keyspace']],
    ['KExn', ['keyspace']],
    // But they carry all that happens to the keys.
    ['KEA', ['keyevent']],
    ['KExg', ['keyevent']],
    ['KA', ['keyspace']],
    ['Ex', ['keyevent']],
    ['AE', ['keyevent']],
    // Nothing is announced: whatever is switched on later must be heard.
    ['', ['keyevent', 'keyspace']],
    ['x', ['keyevent', 'keyspace']],
  ])('by the flags %j listens on %j', (text, kinds) => {
    expect(sorted(chooseChannels(flags(text)))).toEqual(kinds);
  });

  it('listens on both where the flags are not known', () => {
    expect(sorted(chooseChannels(undefined))).toEqual(['keyevent', 'keyspace']);
  });
});

describe('chooseHeard', () => {
  it.each<[heard: ChannelKind[], kinds: ChannelKind[]]>([
    [['keyspace'], ['keyspace']],
    [['keyevent'], ['keyevent']],
    [['keyevent', 'keyspace'], ['keyevent']],
    [[], ['keyevent', 'keyspace']],
  ])('having heard it on %j listens on %j', (heard, kinds) => {
    expect(sorted(chooseHeard(new Set(heard)))).toEqual(kinds);
  });
});

describe('alternative', () => {
  it.each([
    ['KEx', ['keyevent']],
    ['Kx', undefined],
    ['KEA', ['keyspace']],
    ['Ex', undefined],
  ])('to the choice by %j is %j', (text, kinds) => {
    expect(
      sorted(alternative(chooseChannels(flags(text)), flags(text))),
    ).toEqual(kinds);
  });

  it('is the other family where the flags are not known', () => {
    const heard = (kind: ChannelKind) => chooseHeard(new Set([kind]));

    expect(sorted(alternative(heard('keyspace'), undefined))).toEqual([
      'keyevent',
    ]);
    expect(sorted(alternative(heard('keyevent'), undefined))).toEqual([
      'keyspace',
    ]);
  });
});
