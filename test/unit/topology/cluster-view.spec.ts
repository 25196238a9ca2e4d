import { describe, expect, it } from 'vitest';
import {
  type SlotRange,
  hostAndPort,
  isOutdated,
  movesBetween,
  readView,
} from '../../../lib/topology/cluster-view.js';

const A = ['10.0.0.1', 6379, 'a'] as [string, number, string];
const B = ['10.0.0.2', 6379, 'b'] as [string, number, string];
const C = ['10.0.0.3', 6379, 'c'] as [string, number, string];

const line = (id: string, endpoint: string, flags: string): string =>
  `${id} ${endpoint} ${flags} - 0 0 1 connected`;

describe('readView', () => {
  const ranges: SlotRange[] = [
    [0, 99, A, B],
    [100, 16_383, C],
  ];

  it('tells who serves each slot, and who replicates', () => {
    const view = readView(ranges, '', '10.0.0.1', undefined);

    expect(view.owners).toHaveLength(16_384);
    expect(view.owners[99]).toBe('10.0.0.1:6379');
    expect(view.owners[100]).toBe('10.0.0.3:6379');
    expect([...view.primaries]).toEqual(['10.0.0.1:6379', '10.0.0.3:6379']);
    expect([...view.replicas]).toEqual(['10.0.0.2:6379']);
  });

  it('leaves slots open that nobody serves', () => {
    const view = readView([[5, 5, A]], '', '', undefined);

    expect(view.owners[4]).toBeUndefined();
    expect(view.owners[5]).toBe('10.0.0.1:6379');
  });

  it('knows primaries without slots, and not those that fail, are met or have no address', () => {
    const nodes = [
      line('a', '10.0.0.1:6379@16379', 'myself,master'),
      line('d', '10.0.0.4:6379@16379,host.example', 'master'),
      line('e', '10.0.0.5:6379@16379', 'slave'),
      line('f', '10.0.0.6:6379@16379', 'master,fail'),
      line('g', '10.0.0.7:6379@16379', 'handshake'),
      line('h', ':0@0', 'master,noaddr'),
      '',
    ].join('\n');
    const view = readView(ranges, nodes, '10.0.0.1', undefined);

    expect([...view.primaries]).toEqual([
      '10.0.0.1:6379',
      '10.0.0.3:6379',
      '10.0.0.4:6379',
    ]);
    expect([...view.replicas]).toEqual(['10.0.0.2:6379', '10.0.0.5:6379']);
  });

  it.each([
    ['null', null],
    ['empty', ''],
  ])(
    'takes the host that was asked where a node tells none (%s)',
    (_, host) => {
      const view = readView([[0, 1, [host, 7000]]], '', 'proxy', undefined);

      expect(view.owners[0]).toBe('proxy:7000');
    },
  );

  it.each([
    ['a map', { '10.0.0.1:6379': { host: 'outside', port: 1 } }],
    [
      'a function',
      (key: string) =>
        key === '10.0.0.1:6379' ? { host: 'outside', port: 1 } : null,
    ],
  ])("goes through the user's NAT map: %s", (_, natMap) => {
    const view = readView(ranges, '', '', natMap);

    expect(view.owners[0]).toBe('outside:1');
    expect(view.owners[100]).toBe('10.0.0.3:6379');
  });
});

describe('movesBetween', () => {
  it('tells whose slots became whose', () => {
    const before = readView([[0, 9, A]], '', '', undefined);
    const after = readView(
      [
        [0, 3, A],
        [4, 9, B],
        [10, 11, C],
      ],
      '',
      '',
      undefined,
    );

    expect(movesBetween(before, after)).toEqual(
      new Map([['10.0.0.2:6379', new Set(['10.0.0.1:6379'])]]),
    );
    expect(movesBetween(after, after)).toEqual(new Map());
  });
});

describe('names of hosts', () => {
  const nodes = [
    'a 10.0.0.1:7000@17000,one myself,master - 0 0 1 connected 0-9',
    'd 10.0.0.4:7000@17000,four master - 0 0 2 connected',
  ].join('\n');

  it('are used for nodes without slots where the others are called by theirs', () => {
    const view = readView([[0, 9, ['one', 7000, 'a']]], nodes, '', undefined);

    expect([...view.primaries]).toEqual(['one:7000', 'four:7000']);
  });

  it('are not where the others are called by their addresses', () => {
    const view = readView([[0, 9, ['10.0.0.1', 7000, 'a']]], nodes, '', {});

    expect([...view.primaries]).toEqual(['10.0.0.1:7000', '10.0.0.4:7000']);
  });
});

describe('isOutdated', () => {
  const viewOf = (owner: [string, number, string], epoch: number) =>
    readView(
      [[0, 9, owner]],
      `${owner[2]} ${owner[0]}:${owner[1]}@16379 master - 0 0 ${epoch} connected`,
      '',
      undefined,
    );

  it.each([
    ['an older epoch of another owner', 1, 2, true],
    ['a newer epoch of another owner', 3, 2, false],
    ['the same epoch', 2, 2, false],
  ])('by %s', (_, now, then, outdated) => {
    expect(isOutdated(viewOf(A, now), viewOf(B, then))).toBe(outdated);
  });

  it('is never what names the same owners, or tells no epochs', () => {
    expect(isOutdated(viewOf(A, 1), viewOf(A, 2))).toBe(false);
    const plain = readView([[0, 9, A]], '', '', undefined);
    expect(isOutdated(plain, viewOf(B, 2))).toBe(false);
  });
});

describe('hostAndPort', () => {
  it.each([
    ['a:1', 'a', 1],
    ['::1:6379', '::1', 6379],
  ])('of %s', (address, host, port) => {
    expect(hostAndPort(address)).toEqual({ host, port });
  });
});
