import {
  afterEach,
  beforeEach,
  describe,
  expect,
  it,
  onTestFinished,
  vi,
} from 'vitest';
import { groupKeys } from '../../../lib/group/group-keys.js';
import { LeaderLease } from '../../../lib/group/leader-lease.js';
import { LeaseShares } from '../../../lib/group/lease-shares.js';
import { eventually } from '../../support/eventually.js';
import { commandsOn, noLog } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

describe('LeaseShares', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => vi.useRealTimers());

  /** Partitions of which the holders are known: `a` is this instance. */
  function sharesOf(living: number, ...holders: (string | undefined)[]) {
    const shares = new LeaseShares('a', () => living);
    const all = holders.map(() => shares.open());
    all.forEach((share, i) => share.note(holders[i]));
    return all;
  }

  it.for<[number, (string | undefined)[], boolean, boolean]>([
    // living, holders; leaves a free one to others, gives one back
    [1, [undefined], false, false],
    [1, ['a', 'a', undefined], false, false],
    [2, ['a', 'a', undefined], true, true],
    [2, ['a', undefined, undefined], false, false],
    [2, ['a', 'a', 'b'], true, false],
    [2, ['a', 'a', 'a', 'b'], true, true],
    [3, ['a', 'a', 'b'], true, true],
    [3, ['a', 'b', 'c'], true, false],
    [3, ['b', 'b', undefined], false, false],
    // Nobody has told of the others yet.
    [1, ['a', 'a', 'b', 'c'], true, false],
    [0, ['a', 'a', 'a', 'b'], true, true],
  ])('of %d instances that hold %o', ([living, holders, leaves, gives]) => {
    const [first] = sharesOf(living, ...holders);
    expect(first!.isReluctant).toBe(leaves);
    expect(first!.givesBack()).toBe(gives);
  });

  it('gives back one at a time, and the next once somebody took it', () => {
    const [one, two, three] = sharesOf(2, 'a', 'a', 'a', 'a', 'a');
    expect(one!.givesBack()).toBe(true);
    one!.note(undefined);
    expect(two!.givesBack()).toBe(false);
    one!.note('b');
    expect(two!.givesBack()).toBe(true);
    two!.note(undefined);
    two!.note('b');
    expect(three!.givesBack()).toBe(false);
  });

  it('rests for a while where nobody took it', () => {
    const [one, two] = sharesOf(2, 'a', 'a', 'a');
    expect(one!.givesBack()).toBe(true);
    one!.note(undefined);
    one!.note('a');
    expect(two!.givesBack()).toBe(false);
    vi.advanceTimersByTime(19_000);
    expect(two!.givesBack()).toBe(false);
    vi.advanceTimersByTime(2_000);
    expect(two!.givesBack()).toBe(true);
  });

  it('counts no partition that is not there any more', () => {
    const [one, two, three] = sharesOf(2, 'a', 'a', 'b');
    expect(one!.isReluctant).toBe(true);
    three!.close();
    three!.note('b');
    two!.close();
    expect(one!.isReluctant).toBe(true);
    expect(one!.givesBack()).toBe(false);
    one!.close();
  });
});

describe('the leases of several partitions', () => {
  const server = useServer();

  function instance(name: string, partitions: number, living: () => number) {
    const shares = new LeaseShares(name, living);
    const commands = commandsOn(server);
    const leases = Array.from({ length: partitions }, (_, number) => {
      const keys = groupKeys('rx:', `g:${number}`);
      const holder = {
        onHeld: () => undefined,
        onLost: () => undefined,
        watchedUntil: () => 7,
      };
      return new LeaderLease(
        ...([commands, keys, name, holder, noLog, shares.open()] as const),
      );
    });
    const close = async (): Promise<void> => {
      await Promise.all(leases.map((lease) => lease.close()));
      commands.close();
    };
    onTestFinished(close);
    return {
      start: () => Promise.all(leases.map((lease) => lease.start())),
      held: () => leases.filter(({ held }) => held).length,
      close,
    };
  }

  it('are spread over the instances that come, and taken over from those that go', async () => {
    let living = 1;
    const [a, b, c] = ['a', 'b', 'c'].map((name) =>
      instance(name, 6, () => living),
    );
    await a!.start();
    expect(a!.held()).toBe(6);
    living = 3;
    await Promise.all([b!.start(), c!.start()]);

    await eventually(() =>
      expect([a!, b!, c!].map(({ held }) => held())).toEqual([2, 2, 2]),
    );
    // With a note of what was watched: that is no gap.
    for (let i = 0; i < 6; i++)
      expect(await server.redis.get(`rx:{g:${i}}:watched`)).toBe('7');
    const began = performance.now();
    await c!.close();
    living = 2;
    await eventually(() =>
      expect([a!, b!].map(({ held }) => held())).toEqual([3, 3]),
    );
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  it('are all taken where those that count as living are dead', async () => {
    const a = instance('a', 3, () => 4);
    await a.start();
    await eventually(() => expect(a.held()).toBe(3));
  });
});
