import { describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../../lib/index.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import { LatenessWindow } from '../../../lib/dispatch/lateness-window.js';
import type { RedisExpiryStatus } from '../../../lib/index.js';
import { checkLimits, troublesOf } from '../../../lib/terminus/troubles.js';

const ago = (ms: number): Date => new Date(Date.now() - ms);

const node = (part: Partial<NodeStatus>): NodeStatus => ({
  ...{ address: 'redis:1', state: 'listening', since: ago(60_000) },
  ...{ patterns: [], refused: [], gaps: 0 },
  ...part,
});

const status = (part: Partial<RedisExpiryStatus>): RedisExpiryStatus => ({
  ...{ nodes: [], groups: [], counters: newCounters(), queued: 0, running: 0 },
  inGrace: 0,
  ...{ lateness: new LatenessWindow().status, longRunning: [] },
  gaps: { count: 0, seconds: 0 },
  ...part,
});

const group = (
  part: Partial<RedisExpiryStatus['groups'][number]>,
): RedisExpiryStatus['groups'][number] => ({
  ...{ group: 'presence', leads: false, nodes: [], partitions: [] },
  ...part,
});

describe('a node', () => {
  const of = (part: Partial<NodeStatus>) =>
    troublesOf(status({ nodes: [node(part)] }), checkLimits({}));

  it('that is listened to is none', () => {
    expect(of({})).toEqual([]);
  });

  it('that is away is one after maxGap, and from the last proof on', () => {
    const from = ago(10_500);
    const away: Partial<NodeStatus> = {
      ...{ state: 'connecting', since: ago(9_000) },
      lastError: 'connect ECONNREFUSED',
    };
    const lastGap = { node: 'redis:1', from, reason: 'closed' };

    expect(of(away)).toEqual([]);
    expect(of({ ...away, lastGap: { ...lastGap, to: ago(20) } })).toEqual([]);
    expect(of({ ...away, lastGap })).toEqual([
      {
        ...{ node: 'redis:1', state: 'connecting', limit: 'maxGap' },
        ...{ since: from, reason: 'connect ECONNREFUSED' },
      },
    ]);
  });

  it('that is refused is one, with the words of the server', () => {
    const refused = [{ pattern: 'device:*', reason: 'NOPERM channel' }];
    const [trouble] = of({ state: 'refused', since: ago(11_000), refused });

    expect(trouble).toMatchObject({
      state: 'refused',
      reason: 'device:*: NOPERM channel',
    });
  });

  it('that is deaf is one, with the reason of its gap', () => {
    const reason = 'the server does not announce expiries';
    const lastGap = { node: 'redis:1', from: ago(11_000), reason };

    expect(of({ state: 'deaf', since: ago(11_000), lastGap })).toMatchObject([
      { state: 'deaf', reason },
    ]);
  });
});

describe('a group', () => {
  const partition = (leads: boolean, seen: number, tag = 'presence') => ({
    ...{ tag, node: 'redis:1', leads, nodes: [], leaderSeen: ago(seen) },
  });
  const of = (
    part: Partial<RedisExpiryStatus['groups'][number]>,
    limits = {},
  ) => troublesOf(status({ groups: [group(part)] }), checkLimits(limits));

  it('is none while somebody leads', () => {
    const partitions = [partition(true, 60_000), partition(false, 9_000)];

    expect(of({ partitions })).toEqual([]);
  });

  it('is one when nobody was seen to lead for maxGap, with the partitions that it is about', () => {
    const partitions = [
      ...[partition(true, 0, 'a'), partition(false, 11_000, 'b')],
      partition(false, 12_000, 'c'),
    ];

    expect(of({ partitions, lastError: 'READONLY' })).toEqual([
      {
        ...{ group: 'presence', limit: 'maxGap' },
        since: partitions[2]!.leaderSeen,
        reason: expect.stringMatching(
          /\(partitions b, c\).*\(READONLY\)/,
        ) as string,
      },
    ]);
  });

  it('is one with more to do, or more dead letters, than allowed', () => {
    const limits = { maxWaiting: 10, maxDead: 0 };

    expect(of({ waiting: 10, dead: 0 }, limits)).toEqual([]);
    expect(of({}, limits)).toEqual([]);
    expect(of({ waiting: 11, dead: 1 }, limits)).toMatchObject([
      { group: 'presence', limit: 'maxWaiting', reason: '11 events wait' },
      { group: 'presence', limit: 'maxDead' },
    ]);
    expect(of({ waiting: 11, dead: 1 })).toEqual([]);
  });

  it('names the group of a node that its leader does not hear', () => {
    const nodes = [node({ state: 'deaf', since: ago(11_000) })];

    expect(of({ nodes })).toMatchObject([
      { group: 'presence', node: 'redis:1', reason: 'it is deaf' },
    ]);
  });
});

it('lateness and the queue of this instance are troubles beyond their limits', () => {
  const window = new LatenessWindow();
  for (let i = 0; i < 100; i++) window.add(250);
  const late = status({ lateness: window.status, queued: 5 });

  expect(troublesOf(late, checkLimits({ maxLateness: 250 }))).toEqual([]);
  expect(
    troublesOf(late, checkLimits({ maxLateness: 249, maxWaiting: 4 })),
  ).toEqual([
    { limit: 'maxLateness', reason: '99 of 100 events are up to 250 ms late' },
    { limit: 'maxWaiting', reason: '5 events wait in this instance' },
  ]);
});

it.each<[object, string]>([
  [{ maxGap: -1 }, 'INVALID_OPTION_MAX_GAP'],
  [{ maxGap: Number.NaN }, 'INVALID_OPTION_MAX_GAP'],
  [{ maxLateness: '1s' }, 'INVALID_OPTION_MAX_LATENESS'],
  [{ maxWaiting: null }, 'INVALID_OPTION_MAX_WAITING'],
  [{ maxDead: -1 }, 'INVALID_OPTION_MAX_DEAD'],
  [{ maxgap: 1 }, 'INVALID_OPTION_MAXGAP'],
])('limits %o are refused', (limits, code) => {
  expect(() => checkLimits(limits)).toThrow(expect.objectContaining({ code }));
});
